"""What the drawing of each stage shows: a record per stage, measured on the running pair or counted by the pipelines.

With the pair loaded each takes less than a second, and is kept for as long as the manager lives: greedy answers do not
change.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from pipelines.errors import unknown
from pipelines.models import ModelManager
from pipelines.teaching.figures_of_size import (
    Circle,
    CircleFigures,
    CurveFigures,
    MatrixFigures,
    RoadFigures,
    Stack,
    StackFigures,
    circles,
    curve,
    matrices,
    pipeline,
    stacks,
)
from pipelines.teaching.figures_of_text import (
    Line,
    MaskFigures,
    QuizFigures,
    ScreenplayFigures,
    mask,
    quiz,
    screenplay,
)

__all__ = [
    "Circle",
    "CircleFigures",
    "CurveFigures",
    "Figures",
    "Line",
    "MaskFigures",
    "MatrixFigures",
    "QuizFigures",
    "RoadFigures",
    "ScreenplayFigures",
    "Stack",
    "StackFigures",
    "figures",
]

Figures = (
    QuizFigures
    | MaskFigures
    | CircleFigures
    | ScreenplayFigures
    | MatrixFigures
    | StackFigures
    | CurveFigures
    | RoadFigures
)

_MAKE: dict[str, Callable[[ModelManager], Figures]] = {
    "problem": quiz,
    "sft": mask,
    "data": lambda manager: circles(),
    "templates": screenplay,
    "lora": matrices,
    "qlora": lambda manager: stacks(),
    "practice": lambda manager: curve(),
    "base-vs-chat": pipeline,
}


@dataclass(slots=True)
class _Kept:
    """Of one manager, and so of one pair. `locks`: one for each stage, so that a calculator waits for no model."""

    made: dict[str, Figures] = field(default_factory=dict)
    locks: dict[str, threading.Lock] = field(default_factory=lambda: {key: threading.Lock() for key in _MAKE})


_kept: WeakKeyDictionary[ModelManager, _Kept] = WeakKeyDictionary()
_keeping = threading.Lock()


def figures(stage: str, manager: ModelManager) -> Figures:
    """The record that `stage` draws. Waits for the pair where it is still being loaded.

    Raises InputError for a stage that is none, and for what the pair cannot give at all; asked again, it tries again.
    """
    if stage not in _MAKE:
        raise unknown(stage, _MAKE, "stage")
    with _keeping:
        kept = _kept.setdefault(manager, _Kept())
    with kept.locks[stage]:
        if stage not in kept.made:
            kept.made[stage] = _MAKE[stage](manager)
        return kept.made[stage]
