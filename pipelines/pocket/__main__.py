"""`python -m pipelines.pocket`: make the pocket pair from the facts."""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

from pipelines.pocket import recipe as stages
from pipelines.pocket.adapters import make_personalities
from pipelines.pocket.aligned import measure_preferences
from pipelines.stages import ASSETS

STAGES = ("pretrain", "sft", "data", "evaluate", "install", "personalities", "preferences")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.pocket",
        description="Make the pocket pair: corpus, tokenizer, pretraining, SFT, evaluation, model cards, and four "
        "small adapters of the base, and the figures of a DPO run. Every stage is seeded and reads what the one before "
        "left in the build directory; an interrupted training goes on from its last checkpoint.",
    )
    parser.add_argument("--stages", default=",".join(STAGES), help=f"which, in order: {','.join(STAGES)}")
    parser.add_argument("--build", type=Path, default=Path("build/pocket"), help="where intermediate files go")
    parser.add_argument("--assets", type=Path, default=ASSETS, help="where `install` puts the pair and its data")
    parser.add_argument("--tokens", type=int, default=12_000_000, help="pretraining tokens")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compile", action="store_true", help="fuse the training step (needs a C++ compiler)")
    chosen = parser.parse_args()
    unknown = set(chosen.stages.split(",")) - set(STAGES)
    if unknown:
        parser.error(f"unknown stage {', '.join(sorted(unknown))}; use {', '.join(STAGES)}")
    chosen.build.mkdir(parents=True, exist_ok=True)
    recipe = stages.Recipe(chosen.build, chosen.tokens, chosen.seed, _report, chosen.compile)
    stages.note(recipe, "machine", _machine())
    for name in chosen.stages.split(","):
        _report(f"stage {name}")
        if name == "pretrain":
            stages.pretrain(recipe)
        elif name == "sft":
            stages.instruct(recipe)
        elif name == "data":
            stages.write_data(recipe)
        elif name == "evaluate":
            stages.evaluate(recipe)
        elif name == "install":
            stages.install(recipe, chosen.assets)
        elif name == "preferences":
            measure_preferences(chosen.build, chosen.assets, _report)
        else:
            make_personalities(chosen.build, chosen.assets, _report, chosen.seed)


def _report(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def _machine() -> str:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"
    return f"{device} ({platform.machine()}), torch {torch.__version__}"


if __name__ == "__main__":
    main()
