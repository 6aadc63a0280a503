"""What the trainer says while it works, written into the run's directory; and the run's wish to stop, heard by it."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from pipelines.finetune.run import RunDirectory

if TYPE_CHECKING:
    from transformers import TrainerCallback


class Clock:
    """Seconds since the run began to work; a resumed run goes on counting where it stood."""

    def __init__(self, before: float = 0.0) -> None:
        self._began = time.monotonic() - before

    def seconds(self) -> float:
        return time.monotonic() - self._began


def recorder(run: RunDirectory, clock: Clock) -> TrainerCallback:
    """A callback for transformers' Trainer. Made by a function: its base class takes seconds to import."""
    from transformers import TrainerCallback

    tokens_before = run.progress_before()[1]

    class Recorder(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if run.stop_asked:
                # No look at the held-out rows any more, but a checkpoint: a stopped run can be resumed.
                control.should_training_stop = control.should_save = True
                control.should_evaluate = False

        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if run.stop_asked:
                control.should_training_stop = True

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if not logs or "loss" not in logs:
                return
            run.append(
                "step",
                step=state.global_step,
                loss=_number(logs["loss"]),
                learning_rate=logs["learning_rate"],
                grad_norm=_number(logs.get("grad_norm", 0.0)),
                tokens=tokens_before + int(logs.get("num_tokens", 0)),
                seconds=clock.seconds(),
                **({"margin": _number(logs["rewards/margins"])} if "rewards/margins" in logs else {}),
            )

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            run.append("checkpoint", step=state.global_step, seconds=clock.seconds())

    return Recorder()


def _number(value: float) -> float | None:
    """JSON has no word for a loss that is not a number; the page shows a gap."""
    value = float(value)
    return value if math.isfinite(value) else None
