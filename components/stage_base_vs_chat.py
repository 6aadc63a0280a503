"""Stage 8, Base vs Chat: the whole pipeline, side by side."""

from __future__ import annotations

from components.context import Studio
from components.frame import stage_frame
from components.lesson import Lesson


def build(studio: Studio, lesson: Lesson) -> None:
    """Draw the tab."""
    with stage_frame("base-vs-chat"):
        pass
