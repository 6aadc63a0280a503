"""The eight stages of the chapter, in its order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ASSETS = Path(__file__).resolve().parent.parent / "assets"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its number from 1, its key in links and endpoints, and the title on its tab."""

    number: int
    key: str
    title: str

    @property
    def explain(self) -> str:
        """The Explain text, as Markdown."""
        return (ASSETS / "stages" / f"{self.key}.md").read_text(encoding="utf-8")


STAGES = tuple(
    Stage(number, key, title)
    for number, (key, title) in enumerate(
        [
            ("problem", "Problem"),
            ("sft", "SFT"),
            ("data", "Data"),
            ("templates", "Templates"),
            ("lora", "LoRA"),
            ("qlora", "QLoRA"),
            ("practice", "Practice"),
            ("base-vs-chat", "Base vs Chat"),
        ],
        start=1,
    )
)


def stage(key: str) -> Stage:
    """The stage of that key. Raises KeyError for a key that no stage has."""
    return next(stage for stage in STAGES if stage.key == key)
