"""What a run will take, said before it starts: seconds and bytes; and what it took, beside them, afterwards.

Time. A step is counted as calls (so many for each layer) and arithmetic (Kaplan et al. 2020, https://arxiv.org/abs/
2001.08361, section 2.1: 2 FLOP for each parameter and token forward, twice that backward, of which frozen weights need
half). Both prices come from training steps of the embedded base that a worker really took on this machine; for other
widths and dtypes the arithmetic's is scaled by matrix products of that width. Runs of the same model and method that
ended here correct the result: the median ratio of what they took to what was counted for them.

Memory. The estimate of `pipelines.memory`, which is checked against published figures. On a CPU the worker's whole
resident memory is meant: its imports, which were measured, and the terms of the estimate without what only a GPU has
(context, allocator). On a GPU it is what PyTorch's allocator reserves.

Not covered: other work on the machine, and answers that end early (a run that ended here says how many do).
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.finetune.arguments import torch_dtype
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.files import write_atomically
from pipelines.finetune.measuring import ANSWERED, LARGE, NEW_TOKENS, SMALL, WIDTHS, Machine, cores, read_machine
from pipelines.finetune.peak import checkpointed, memory_of
from pipelines.finetune.run import RunDirectory, TrainedModel
from pipelines.finetune.shapes import Shapes

if TYPE_CHECKING:
    from pipelines.architecture import Architecture

FILE = "prediction.json"
COMPARED = 3  # runs of the same kind that correct a prediction, the newest ones
LOOKED_THROUGH = 30  # runs of the directory, the newest ones
# What a process needs before its first step and after its last, in seconds: reading the model, rendering the rows,
# building the trainer; writing the adapter. From runs of the embedded pair; a larger model also has its bytes read.
STARTING, SAVING = 1.6, 0.5
READ_BYTES_PER_SECOND = 500e6


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a run was predicted to take.

    seconds:  from its beginning to its end, without the wait; None where nothing was measured on this machine yet
    memory:   bytes at the peak; None for a model whose shapes are not known
    start, step, look: seconds counted for what comes before training, for one step and for one look at the held-out
        rows, before any correction
    how:      what the seconds rest on, as a person reads it
    counted:  what the bytes are, as a person reads it
    disk:     bytes that the run writes at most
    """

    seconds: float | None
    memory: int | None
    start: float = 0.0
    step: float = 0.0
    look: float = 0.0
    how: str = ""
    counted: str = ""
    disk: int = 0

    def write(self, run: RunDirectory) -> None:
        write_atomically(run.path / FILE, json.dumps(asdict(self)))

    def after(self, seconds: float) -> Prediction:
        """The same of a run that goes on where another stood after so many seconds."""
        return self if self.seconds is None else replace(self, seconds=self.seconds + seconds)

    @classmethod
    def of(cls, run: RunDirectory) -> Prediction | None:
        """What was predicted for that run; None for a run from before there were predictions."""
        try:
            return cls(**json.loads((run.path / FILE).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run took. The seconds of its parts are those of the last worker that had it.

    memory:  bytes at the peak, counted as the prediction counts them; baseline: before the model was loaded
    start, stepping, looking: seconds before training, in `steps` steps, and in `looks` looks and what is between steps
    """

    device: str
    host: str
    cores: int
    memory: int
    baseline: int
    start: float
    stepping: float
    looking: float
    steps: int
    looks: int

    @classmethod
    def of(cls, events: Sequence[dict[str, Any]]) -> Measured | None:
        """From a run's events; None while it trains."""
        found = [event for event in events if event["kind"] == "measured"]
        return cls(**{name: found[-1][name] for name in cls.__slots__}) if found else None


def predict(
    config: FinetuneConfig, model: TrainedModel, shapes: Shapes, runs_dir: Path, device: str, done: int = 0
) -> Prediction:
    """Predict a run of a resolved `config`. `done`: steps that the run it resumes has taken already."""
    machine = read_machine(runs_dir)
    device = machine.device if machine and device == "auto" else device
    described = shapes.architecture
    baseline = machine.baseline if machine else 0
    memory, counted = (None, "") if described is None else memory_of(described, config, model, shapes, device, baseline)
    if machine is None or described is None or machine.device != device:
        return Prediction(None, memory, how="no step was timed on this machine yet", counted=counted)
    start, step, look = _count(config, model, shapes, described, machine)
    steps = max(0, (config.max_steps or 0) - done)
    looks = steps // (config.eval_steps or 1) + (0 if done else 1)
    ratios, like = _ratios(runs_dir, config, model, device)
    seconds = ratios[0] * start + steps * ratios[1] * step + looks * ratios[2] * look + SAVING
    runs = "the last run" if like == 1 else f"the last {like} runs"
    how = "a timed step of the pocket base on this machine" + ("" if model.key == "pocket-base" else ", scaled")
    return Prediction(seconds, memory, start, step, look, f"{runs} of this kind here" if like else how, counted)


def _count(
    config: FinetuneConfig, model: TrainedModel, shapes: Shapes, described: Architecture, machine: Machine
) -> tuple[float, float, float]:
    """Seconds (before training, of a step, of a look), as the machine's measurements say."""
    size, pocket = described.dimensions, _pocket()
    dtype = torch_dtype(config, model.parameters, machine.device)
    parameters = described.parameters
    # Forward and backward; the gradient of frozen weights is not made. Checkpointing computes each layer again.
    passes = (6 if config.method == "full" else 4) + (2 if checkpointed(config, model, shapes, machine.device) else 0)
    sequences = 2 if config.objective == "dpo" else 1  # the preferred answer and the rejected one
    passes += 2 if config.objective == "dpo" else 0  # and the reference's opinion of both
    forward = sequences * (config.batch_size or 1)
    work = passes * parameters * forward * shapes.mean_length
    call, flops = _prices(machine, pocket)
    speed = flops * _relative_speed(machine, size.hidden, dtype, pocket.dimensions.hidden)
    calls = call * size.layers * (1.5 if config.objective == "dpo" else 1.0)
    step = config.gradient_accumulation * (calls + work / speed)

    rows = shapes.looked_at
    batches = max(1, -(-rows // 128))
    # One token for each row: the measured answering of the pocket base, whose calls and arithmetic scale as above.
    per_token = machine.answering / NEW_TOKENS * size.layers / pocket.dimensions.layers
    more_rows = max(0.0, rows / batches / ANSWERED - 1) * 0.5  # half of a token's time grows with the rows
    slower = max(1.0, parameters * flops / (pocket.parameters * speed) / (size.layers / pocket.dimensions.layers))
    look = batches * shapes.max_new_tokens * per_token * (1 + more_rows) * slower
    # The held-out loss; of DPO over both answers, for policy and reference, and once more for the win rate.
    look += 2 * parameters * rows * shapes.mean_length / speed * (6 if config.objective == "dpo" else 1)
    start = STARTING + shapes.bytes_on_disk / READ_BYTES_PER_SECOND
    return start, step, look


def _prices(machine: Machine, pocket: Architecture) -> tuple[float, float]:
    """(seconds of the calls of one layer, FLOP/s of the arithmetic), from two steps of the embedded base."""
    layers = pocket.dimensions.layers
    work = [4 * pocket.parameters * rows * length for rows, length in (SMALL, LARGE)]
    slope = max(1e-15, (machine.large - machine.small) / (work[1] - work[0]))
    return max(0.0, machine.small - slope * work[0]) / layers, 1 / slope


def _relative_speed(machine: Machine, width: int, dtype: str, pocket_width: int) -> float:
    """How much faster matrix products of that width and dtype are than the embedded base's, in float32."""
    speeds = machine.products[dtype]
    near = min(range(len(speeds)), key=lambda index: abs(WIDTHS[index] - width))
    return speeds[near] / machine.products["float32"][WIDTHS.index(pocket_width)]


def _ratios(
    runs_dir: Path, config: FinetuneConfig, model: TrainedModel, device: str
) -> tuple[tuple[float, float, float], int]:
    """What runs of the same kind took, relative to what was counted: (before training, step, look), and how many."""
    found: list[tuple[float, float, float]] = []
    for run in RunDirectory.all(runs_dir)[:LOOKED_THROUGH]:
        if run.model.source != model.source or not _alike(run.config, config):
            continue
        predicted, took = Prediction.of(run), Measured.of(run.events())
        if predicted is None or took is None or not predicted.step or not took.steps or not took.looks:
            continue
        if (took.device, took.cores) != (device, cores()):
            continue
        found.append(
            (
                took.start / predicted.start,
                took.stepping / took.steps / predicted.step,
                took.looking / took.looks / predicted.look,
            )
        )
        if len(found) == COMPARED:
            break
    if not found:
        return (1.0, 1.0, 1.0), 0
    start, step, look = (statistics.median(part) for part in zip(*found, strict=True))
    return (start, step, look), len(found)


def _alike(one: FinetuneConfig, other: FinetuneConfig) -> bool:
    """Whether two runs of one model do the same kind of work, in whatever amount."""
    return all(getattr(one, name) == getattr(other, name) for name in ("method", "objective", "dtype", "packing"))


def _pocket() -> Architecture:
    from pipelines.architecture import architecture

    return architecture("pocket-base")
