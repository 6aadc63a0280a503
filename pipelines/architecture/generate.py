"""Write the shapes of every catalogue model: `python -m pipelines.architecture.generate [key …]`.

Run it after a change of the facts in assets/architectures/ or of the pinned transformers; the shapes are
committed, so that the studio answers without building a model.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from pipelines.architecture.catalogue import FACTS, SHAPES, facts_of
from pipelines.architecture.extract import extract
from pipelines.architecture.records import to_json


def main(keys: Sequence[str]) -> None:
    """Build each model at full depth on the meta device and keep its shapes."""
    SHAPES.mkdir(exist_ok=True)
    for path in sorted(FACTS.glob("*.json")):
        if keys and path.stem not in keys:
            continue
        facts = facts_of(path.stem)
        architecture = extract(facts, facts["config"])
        published = facts["parameters"]
        if published and architecture.parameters != published:
            raise SystemExit(f"{path.stem}: {architecture.parameters:,} parameters, published {published:,}")
        text = json.dumps(to_json(architecture), indent=None, separators=(",", ":"))
        text = text.replace('],["', '],\n["').replace('"weights":[', '"weights":[\n')
        (SHAPES / path.name).write_text(text + "\n", encoding="utf-8")
        print(f"{path.stem}: {architecture.parameters:,}")


if __name__ == "__main__":
    main(sys.argv[1:])
