"""Stage 3, Data: where examples come from."""

from __future__ import annotations

from components.context import Studio
from components.frame import stage_frame
from components.lesson import Lesson


def build(studio: Studio, lesson: Lesson) -> None:
    """Draw the tab."""
    with stage_frame("data"):
        pass
