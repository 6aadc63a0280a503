"""A run on ZeroGPU: trained in the forked process that has the GPU, for as long as it was predicted to take.

The prediction rests on steps that are timed on a lent GPU at the first start. A run that is not
done when its time is over is cut off with its process; it is marked failed and can be resumed from its last checkpoint.
"""

from __future__ import annotations

import subprocess
import threading
from contextvars import Context
from pathlib import Path

from pipelines.errors import InputError
from pipelines.finetune.prediction import Prediction
from pipelines.finetune.run import RunDirectory
from pipelines.models import zero_gpu

TIMING = 30.0  # seconds asked for to time some steps; they take about two after the start
SPARE = 1.5  # times the prediction: what is not used is not charged, what is missing cuts the run off


def check_length(prediction: Prediction) -> None:
    """Raises InputError for a run that no lent GPU would finish."""
    needed = seconds_for(prediction)
    if needed > zero_gpu.LONGEST:
        raise InputError(
            f"this run needs a GPU for {needed:,.0f} s, and ZeroGPU lends one for {zero_gpu.LONGEST:.0f} s at most",
            "max_steps",
            "Take fewer steps and resume the run, or a smaller model.",
        )


def seconds_for(prediction: Prediction | None) -> float:
    """What ZeroGPU is asked for: the longest there is where nothing could be predicted."""
    if prediction is None or prediction.seconds is None:
        return zero_gpu.LONGEST
    return zero_gpu.STARTING + SPARE * prediction.seconds


def _seconds_of(run: Path) -> float:
    return min(zero_gpu.LONGEST, seconds_for(Prediction.of(RunDirectory(run))))


@zero_gpu.on_gpu(lambda device: TIMING)
def time_machine(device: str) -> str:
    """What the lent GPU can do, as JSON."""
    from pipelines.finetune.worker import measured, prepare

    prepare()
    return measured(device)


@zero_gpu.on_gpu(_seconds_of)
def train(run: Path) -> int:
    """Train it; 0 when it finished or was stopped."""
    from pipelines.finetune.worker import work

    return work(RunDirectory(run))


class LentWorker:
    """A worker like `WarmWorker`, of a run that trains where the GPU is. Its `process` is itself.

    context: of the request that started the run, by which ZeroGPU knows whose time it is
    """

    def __init__(self, run: RunDirectory, context: Context) -> None:
        self.process, self._run = self, run
        self._code = 1
        self._ended = threading.Event()
        threading.Thread(target=context.run, args=(self._work,), name=f"lent-{run.id[:6]}", daemon=True).start()

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once it has one. Raises what a process raises where that takes longer."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("a run on ZeroGPU", timeout or 0.0)
        return self._code

    def kill(self) -> None:
        """Wait for it no longer: its process ends with the studio's, or with its time."""
        self._ended.set()

    def keep_log(self, path: Path) -> None:
        """Nothing: what it says is in the log of the Space."""

    def _work(self) -> None:
        try:
            self._code = train(self._run.path)
        except Exception as error:  # a quota that is used up, a GPU that was taken away: `spaces` has its own classes
            self._run.set_status("failed", f"ZeroGPU: {error}. {self._run.advice()}")
        finally:
            self._ended.set()
