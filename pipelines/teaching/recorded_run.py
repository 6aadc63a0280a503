"""A run that was made once and is shown ever after: the curve with the answers turning, of the drawing in Practice.

`python -m pipelines.teaching.recorded_run` makes it again: the embedded base, the lesson's own rows and the settings of
the Practice tab, looked at more often and over more held-out rows than there. It takes two minutes or three, most of it
the looks, and writes `assets/teaching/recorded_run.json`.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.running_example import QUESTION
from pipelines.stages import ASSETS

RECORD = ASSETS / "teaching" / "recorded_run.json"
SETTINGS: dict[str, Any] = {
    "max_steps": 80,
    "eval_steps": 4,
    "eval_rows": 200,
    "prompts": [QUESTION, "What is photosynthesis?", "Who wrote Hamlet?"],
}


@dataclass(frozen=True, slots=True)
class Look:
    """The model after `step` steps: the share of held-out questions answered right, and its answers to the prompts."""

    step: int
    accuracy: float
    answers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """What was measured, when and on what. questions: held-out ones at each look; seconds: of the whole run."""

    date: str
    machine: str
    steps: int
    questions: int
    seconds: float
    r: int
    batch_size: int
    learning_rate: float
    looks: tuple[Look, ...]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> RecordedRun:
        """The record as JSON holds it."""
        return cls(**{**record, "looks": tuple(Look(**look) for look in record["looks"])})


@cache
def recorded_run() -> RecordedRun:
    """The run that ships with the studio."""
    return RecordedRun.of(json.loads(RECORD.read_text(encoding="utf-8")))


def record(runs_dir: Path) -> dict[str, Any]:
    """Train as SETTINGS say, and gather what the drawing shows. Raises InputError when the run did not finish."""
    import torch

    from pipelines.finetune.config import FinetuneConfig
    from pipelines.finetune.preparing import prepare_run
    from pipelines.finetune.view import view
    from pipelines.finetune.worker import work
    from pipelines.models import ModelManager
    from pipelines.settings import Settings

    settings = Settings(runs_dir=runs_dir, device="cpu")
    run = prepare_run(FinetuneConfig.from_dict(SETTINGS), runs_dir, ModelManager(settings), settings.device)
    work(run)
    seen = view(run)
    if seen.status != "finished":
        raise InputError(f"the run {seen.status}: {seen.error}", "recorded run")
    answers: dict[int, dict[str, str]] = {}
    for sample in seen.samples:
        answers.setdefault(sample.step, {})[sample.prompt] = sample.text
    config = seen.config
    return {
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()} CPU cores ({platform.machine()}), torch {torch.__version__}",
        "steps": seen.steps,
        "questions": config.eval_rows,
        "seconds": round(seen.seconds, 1),
        "r": config.r,
        "batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "looks": [
            {"step": look.step, "accuracy": round(look.accuracy or 0.0, 4), "answers": answers.get(look.step, {})}
            for look in seen.evals
        ],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 2 when the run did not finish, with a sentence on standard error."""
    del arguments  # there is nothing to choose: the record is of this run
    with tempfile.TemporaryDirectory() as runs_dir:
        try:
            made = record(Path(runs_dir))
        except InputError as error:
            print(error, file=sys.stderr)
            return 2
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(made, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(RECORD)
    return 0


if __name__ == "__main__":
    sys.exit(main())
