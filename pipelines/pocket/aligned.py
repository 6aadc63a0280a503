"""The third stage on the shipped pair: DPO of its instruct model on the shipped preference pairs, as Practice runs it.

    python -m pipelines.pocket --stages preferences

Ships no weights: a run takes less than a minute. Its figures go into `pocket.json`, where the road finds them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.preparing import prepare_run
from pipelines.finetune.view import RunView, view
from pipelines.finetune.worker import work
from pipelines.models import ModelManager
from pipelines.settings import Settings


def measure_preferences(build: Path, assets: Path, report: Callable[[str], None]) -> None:
    """Run it with the studio's defaults and note what was measured. Raises InputError when the training fails."""
    manager = ModelManager(Settings(device="cpu"))
    run = prepare_run(FinetuneConfig.from_dict({"objective": "dpo"}), build / "runs", manager, "cpu")
    status, seen = work(run), view(run)
    if status != 0:
        raise InputError(f"the DPO run ended with status {status}: {seen.error}", "preferences")
    found = figures(seen, seen.steps * (run.config.batch_size or 0) * (run.config.gradient_accumulation or 1))
    for folder in ("pocket-base", "pocket-instruct"):
        notes = assets / "models" / folder / "pocket.json"
        kept = json.loads(notes.read_text(encoding="utf-8"))
        notes.write_text(json.dumps(kept | {"preferences": found}, indent=1) + "\n", encoding="utf-8")
    report(json.dumps(found))


def figures(seen: RunView, pairs: int) -> dict[str, Any]:
    """Of a finished DPO run: pairs seen, seconds, and the first and last look at the held-out rows."""
    first, last = seen.evals[0], seen.evals[-1]
    return {
        "pairs": pairs,
        "seconds": round(seen.seconds),
        "win_rate": [first.win_rate, last.win_rate],
        "right": [first.accuracy, last.accuracy],
    }
