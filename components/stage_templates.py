"""Stage 4, Templates: any conversation through any chat template."""

from __future__ import annotations

from components.context import Studio
from components.frame import stage_frame
from components.lesson import Lesson


def build(studio: Studio, lesson: Lesson) -> None:
    """Draw the tab."""
    with stage_frame("templates"):
        pass
