"""What the trainer says while it works, written into the run's directory; and the run's wish to stop, heard by it."""

from __future__ import annotations

import math
import socket
import time
from typing import TYPE_CHECKING, Any

from pipelines.finetune.measuring import cores, peak_bytes
from pipelines.finetune.processes import agreed, processes
from pipelines.finetune.run import RunDirectory

if TYPE_CHECKING:
    from transformers import TrainerCallback


class Clock:
    """Seconds since the run began to work; a resumed run goes on counting where it stood.

    baseline: resident bytes of the worker before it loads a model
    """

    def __init__(self, before: float = 0.0) -> None:
        self._before = before
        self._began = time.monotonic() - before
        self.baseline = 0

    def of_this_worker(self) -> float:
        """Seconds of this worker alone."""
        return self.seconds() - self._before

    def seconds(self) -> float:
        return time.monotonic() - self._began


def recorder(run: RunDirectory, clock: Clock) -> TrainerCallback:
    """A callback for transformers' Trainer. Made by a function: its base class takes seconds to import."""
    from transformers import TrainerCallback

    tokens_before = run.progress_before()[1]

    class Recorder(TrainerCallback):
        def __init__(self) -> None:
            self.start = self.stepping = self.began = 0.0
            self.steps = self.looks = 0

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.start = clock.of_this_worker()

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.began = clock.seconds()

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if processes() > 1:
                return  # what is predicted is one process on this machine
            run.append(
                "measured",
                device=args.device.type,
                host=socket.gethostname(),
                cores=cores(),
                memory=peak_bytes(args.device.type),
                baseline=clock.baseline,
                start=self.start,
                stepping=self.stepping,
                looking=clock.of_this_worker() - self.start - self.stepping,
                steps=self.steps,
                looks=self.looks,
            )

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.stepping += clock.seconds() - self.began
            self.steps += 1
            if agreed(run.stop_asked):
                # No look at the held-out rows any more, but a checkpoint: a stopped run can be resumed.
                control.should_training_stop = control.should_save = True
                control.should_evaluate = False

        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.looks += 1
            if agreed(run.stop_asked):
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
