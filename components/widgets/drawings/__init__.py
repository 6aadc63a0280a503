"""The one drawing of each stage: pure functions from what `pipelines.teaching.figures` measured to markup."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from components.widgets.drawings.circles import circles_html
from components.widgets.drawings.curve import curve_html
from components.widgets.drawings.mask import mask_html
from components.widgets.drawings.matrices import matrices_html
from components.widgets.drawings.quiz import quiz_html
from components.widgets.drawings.road import road_drawing_html
from components.widgets.drawings.screenplay import screenplay_html
from components.widgets.drawings.stacks import stacks_html
from pipelines.teaching.figures import Figures

_DRAW: dict[str, Callable[[Any, str], str]] = {
    "problem": quiz_html,
    "sft": mask_html,
    "data": circles_html,
    "templates": screenplay_html,
    "lora": matrices_html,
    "qlora": stacks_html,
    "practice": curve_html,
    "base-vs-chat": road_drawing_html,
}


def drawing_html(stage: str, figures: Figures, where: str = "beat") -> str:
    """The figure of that stage with its caption. Raises KeyError for a stage that is none.

    where: a word for the place it is shown at, which keeps its ids apart from those of the same drawing elsewhere
    """
    return _DRAW[stage](figures, where)
