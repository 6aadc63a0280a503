"""Stage 2, SFT: the loss sees the assistant's tokens only."""

from __future__ import annotations

from components.context import Studio
from components.frame import stage_frame
from components.lesson import Lesson


def build(studio: Studio, lesson: Lesson) -> None:
    """Draw the tab."""
    with stage_frame("sft"):
        pass
