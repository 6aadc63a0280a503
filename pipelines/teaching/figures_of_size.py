"""What the drawings of sizes show, counted by the tabs' own pipelines: data sets, matrices, bytes, a run, a road."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.architecture import architecture
from pipelines.data.catalogue import dataset_catalogue
from pipelines.errors import InputError
from pipelines.lora import LoraSetup, count
from pipelines.memory.estimate import Estimate, estimate
from pipelines.memory.gpus import Gpu, fits, gpus
from pipelines.memory.setup import MemorySetup
from pipelines.models import ModelManager
from pipelines.road import OwnStage, RoadStage, own_road, road
from pipelines.teaching.recorded_run import Look, RecordedRun, recorded_run

SIDE, RANK = 4096, 16  # the chapter's matrix
SEVENTY = "llama-3.1-70b"
CARDS = ("rtx-4090", "rtx-6000-ada", "h100", "h200", "b200")
SHOWN_LOOKS = 4


@dataclass(frozen=True, slots=True)
class Circle:
    """One data set. rows: of `unit`; said: the chapter's size where no exact count is published, else empty."""

    title: str
    rows: int
    unit: str
    made: str
    said: str


@dataclass(frozen=True, slots=True)
class CircleFigures:
    """The chapter's data sets, largest first. sets: how many more the catalogue of the tab has."""

    circles: tuple[Circle, ...]
    others: int


@dataclass(frozen=True, slots=True)
class MatrixFigures:
    """A square matrix of `side` and the two of rank `r` beside it, and the same rank on the running base.

    pair_trainable, pair_percent: of all linear layers; None where the base's shapes are not on this machine
    """

    side: int
    r: int
    pair: str
    pair_trainable: int | None
    pair_percent: float | None

    @property
    def whole(self) -> int:
        return self.side * self.side

    @property
    def thin(self) -> int:
        """Parameters of one of the two."""
        return self.side * self.r

    @property
    def times(self) -> float:
        """How many times fewer both have together."""
        return self.whole / (2 * self.thin)


@dataclass(frozen=True, slots=True)
class Stack:
    """The peak of one method, on one GPU that would hold it, and the smallest of the table that does (or None).

    count: GPUs of the `h100` kind that it takes, sharded by FSDP where one is too small; None where even 128 are
    """

    estimate: Estimate
    smallest: Gpu | None
    count: int | None


@dataclass(frozen=True, slots=True)
class StackFigures:
    """Full, LoRA and QLoRA of one model under the same conditions, and the GPUs drawn beside them."""

    model: str
    parameters: int
    stacks: tuple[Stack, ...]
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True, slots=True)
class CurveFigures:
    """A recorded run, and the looks whose answers are shown: the first, the last, and where the answers turned."""

    run: RecordedRun
    prompt: str
    shown: tuple[Look, ...]


@dataclass(frozen=True, slots=True)
class RoadFigures:
    """The stages, each with what the pocket pair's recipe measured, where it noted that."""

    stages: tuple[tuple[RoadStage, OwnStage | None], ...]
    running: bool  # whether the pocket pair is the one that runs


def circles() -> CircleFigures:
    """The chapter's data sets by size."""
    catalogue = dataset_catalogue()
    drawn = [
        Circle(entry.title, entry.size, entry.unit, entry.made, "" if entry.count else entry.chapter_size or "")
        for entry in catalogue
        if entry.chapter and entry.size
    ]
    drawn.sort(key=lambda circle: -circle.rows)
    return CircleFigures(tuple(drawn), len(catalogue) - len(drawn))


def matrices(manager: ModelManager) -> MatrixFigures:
    """The chapter's matrix, and the same rank on the running base."""
    base = manager.pair.base
    trainable, percent = None, None
    for key in (base.key, manager.pair.key):
        try:
            counted = count(architecture(key), LoraSetup(r=RANK))
        except InputError:
            continue
        trainable, percent = counted.trainable, counted.percent
        break
    return MatrixFigures(SIDE, RANK, base.title, trainable, percent)


def stacks() -> StackFigures:
    """The chapter's 70B: batch 1, 2,048 tokens, rank 16 on all linear layers."""
    table = {gpu.key: gpu for gpu in gpus()}
    found = []
    for method in ("full", "lora", "qlora"):
        peak = estimate(MemorySetup(SEVENTY, method=method))
        held = fits(peak)
        smallest = next((fit.gpu for fit in held if fit.fits), None)
        found.append(Stack(peak, smallest, next(fit.count for fit in held if fit.gpu.key == "h100")))
    model = found[0].estimate.model
    return StackFigures(model.title, model.parameters, tuple(found), tuple(table[key] for key in CARDS))


def curve() -> CurveFigures:
    """The run that ships with the studio."""
    run = recorded_run()
    prompt = next(iter(run.looks[0].answers))
    return CurveFigures(run, prompt, turning(run, prompt))


def turning(run: RecordedRun, prompt: str) -> tuple[Look, ...]:
    """At most SHOWN_LOOKS looks: the first and the last, and between them those where the answer to `prompt` changed
    first, since that is where it turns."""
    changed = [
        look
        for before, look in zip(run.looks, run.looks[1:-1], strict=False)
        if look.answers[prompt] != before.answers[prompt]
    ]
    return (run.looks[0], *changed[: SHOWN_LOOKS - 2], run.looks[-1])


def pipeline(manager: ModelManager) -> RoadFigures:
    """The road, and the pocket pair's own."""
    own = own_road()
    return RoadFigures(tuple((stage, own.get(stage.key)) for stage in road()), manager.pair.key == "pocket")
