"""What a run's directory says, gathered for the page and for `/run`."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from typing import Any

from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.prediction import Measured, Prediction
from pipelines.finetune.run import ENDED, RunDirectory


@dataclass(frozen=True, slots=True)
class StepPoint:
    """One optimizer step. `tokens`: unpadded ones seen so far; `seconds`: since the run began to work.

    margin: of DPO, how much more the preferred answers of the batch were rewarded than the rejected ones
    """

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    seconds: float
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class EvalPoint:
    """One look at the held-out rows. Shares from 0 to 1; None where it was not measured.

    loss:     mean cross-entropy over the supervised tokens of the held-out rows
    accuracy: answered rightly (see `pipelines.finetune.evaluate`)
    stopped:  ended by themselves
    taught:   of the pairs a person typed, answered word by word
    win_rate: of DPO, held-out pairs whose preferred answer the model finds likelier than the rejected one
    """

    step: int
    loss: float | None
    accuracy: float | None
    stopped: float | None
    taught: float | None
    seconds: float
    win_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """What the model answered to `prompt` after `step` steps."""

    step: int
    prompt: str
    text: str


@dataclass(frozen=True, slots=True)
class RunView:
    """A run at one moment.

    place:   1 is the next in the queue; 0 where it does not wait
    wait:    seconds until its turn, as the runs before it are predicted; None where that cannot be said
    seconds: since it began to work, without the wait; by the worker's own clock up to its last event, since then by the
        time of day, which may jump
    heldout: (step, loss) on the held-out rows; there before the look at the same step, which waits for the answers
    continues: name of the adapter that it trains further, or empty
    prediction, measured: what it was predicted to take, and what it took; the latter once it has trained
    phase:   what a running worker is doing before its first step, as a person reads it; empty after that
    """

    run_id: str
    status: str
    step: int
    steps: int
    seconds: float
    points: tuple[StepPoint, ...]
    heldout: tuple[tuple[int, float], ...]
    evals: tuple[EvalPoint, ...]
    samples: tuple[Sample, ...]
    adapter: bool
    error: str
    place: int
    phase: str
    created: float
    model_key: str
    config: FinetuneConfig
    prediction: Prediction | None = None
    measured: Measured | None = None
    wait: float | None = None
    continues: str = ""

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def tokens_per_second(self) -> float | None:
        """Unpadded training tokens per second over the steps shown, evaluation included."""
        first, last = (self.points[0], self.points[-1]) if len(self.points) > 1 else (None, None)
        if first is None or last is None or last.seconds <= first.seconds:
            return None
        return (last.tokens - first.tokens) / (last.seconds - first.seconds)

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far; None before the second step and after the end."""
        if self.ended or len(self.points) < 2:
            return None
        first, last = self.points[0], self.points[-1]
        pace = (last.seconds - first.seconds) / max(1, last.step - first.step)
        return max(0.0, pace * (self.steps - last.step) - (self.seconds - last.seconds))

    @property
    def title(self) -> str:
        """A few words that tell this run from others."""
        config = self.config
        what = f"{config.method} r={config.r}" if config.method != "full" else "full"
        what = f"dpo {what}" if config.objective == "dpo" else what
        data = f"{len(config.pairs)} pairs" if config.pairs else config.data
        model = f"{self.model_key} + {self.continues[:10]}" if self.continues else self.model_key
        return f"{model} · {what} · {data} · {self.run_id[:6]}"

    def as_dict(self) -> dict[str, Any]:
        """The value of `/run`."""
        return {
            "status": self.status,
            "step": self.step,
            "steps": self.steps,
            "seconds": round(self.seconds, 3),
            "loss": [{"step": point.step, "loss": point.loss} for point in self.points],
            "eval": [
                {"step": look.step, "loss": look.loss, "accuracy": look.accuracy}
                | ({} if look.win_rate is None else {"win_rate": look.win_rate})
                | ({} if look.taught is None else {"taught": look.taught})
                for look in self.evals
            ],
            "samples": [{"step": s.step, "prompt": s.prompt, "text": s.text} for s in self.samples],
            "adapter": self.adapter,
            "error": self.error,
            "place": self.place,
            "wait": self.wait,
            "prediction": self._compared(),
        }

    @property
    def took(self) -> float | None:
        """Seconds of a run that did all of its steps, to be held against the predicted ones."""
        return self.seconds if self.status == "finished" else None

    def _compared(self) -> dict[str, Any] | None:
        """Predicted beside measured; seconds, bytes, and what each rests on. None: from before there were any."""
        if self.prediction is None:
            return None
        return {
            "seconds": self.prediction.seconds,
            "seconds_from": self.prediction.how,
            "measured_seconds": self.took,
            "memory_bytes": self.prediction.memory,
            "memory_counts": self.prediction.counted,
            "measured_memory_bytes": self.measured.memory if self.measured else None,
        }


def view(run: RunDirectory, place: int = 0) -> RunView:
    """Read the run. A worker that is gone although the run is unfinished is seen only by the service's care."""
    record, events = run.record, run.events()
    config = FinetuneConfig.from_dict(record["config"])
    status, error, phase = "queued", "", ""
    seconds = counted_at = 0.0
    counting = False
    points: dict[int, StepPoint] = {}
    evals: dict[int, EvalPoint] = {}
    heldout: dict[int, float] = {}
    for event in events:
        kind = event["kind"]
        if kind == "status":
            status, error = event["status"], event.get("error", "")
            counting, counted_at = status == "running", event["time"]
        elif kind == "phase":
            phase = event["text"]
        elif kind == "step":
            points[event["step"]] = StepPoint(**_of(StepPoint, event))
        elif kind == "heldout":
            heldout[event["step"]] = event["loss"]
        elif kind == "eval":
            evals[event["step"]] = EvalPoint(**_of(EvalPoint, event))
        if "seconds" in event:
            seconds, counted_at = event["seconds"], event["time"]
    samples = tuple(Sample(line["step"], line["prompt"], line["text"]) for line in run.samples())
    if counting:
        seconds += max(0.0, time.time() - counted_at)
    return RunView(
        run_id=run.id,
        status=status,
        step=max(points, default=0),
        steps=config.max_steps or 0,
        seconds=seconds,
        points=tuple(points[step] for step in sorted(points)),
        heldout=tuple(sorted(heldout.items())),
        evals=tuple(evals[step] for step in sorted(evals)),
        samples=samples,
        adapter=run.adapter is not None or run.full_model is not None,
        error=error,
        place=place,
        phase=phase if status == "running" and not points else "",
        created=record["created"],
        model_key=record["model"],
        config=config,
        prediction=Prediction.of(run),
        measured=Measured.of(events),
        continues=record["base"].get("continues", ""),
    )


def _of(record: type, event: dict[str, Any]) -> dict[str, Any]:
    """What `record` keeps of an event; what the event does not have was not measured."""
    return {field.name: event.get(field.name) for field in fields(record)}
