"""The places of the lesson: eight stages with five beats each, in the order in which they are given."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.errors import unknown
from pipelines.stages import STAGES

BEATS = ("analogy", "predict", "demonstration", "proof", "remember")
TITLES = {
    "analogy": "The idea",
    "predict": "Predict",
    "demonstration": "See it",
    "proof": "Prove it",
    "remember": "Remember",
}  # as the presentation names them


@dataclass(frozen=True, slots=True)
class Place:
    """A beat of a stage, by their keys; written `lora.proof`."""

    stage: str
    beat: str

    def __str__(self) -> str:
        return f"{self.stage}.{self.beat}"

    @property
    def number(self) -> int:
        """Its position in the lesson, from 0."""
        return PLACES.index(self)

    @property
    def next(self) -> Place | None:
        """The place after it; None at the end of the lesson."""
        return PLACES[self.number + 1] if self.number + 1 < len(PLACES) else None


PLACES = tuple(Place(stage.key, beat) for stage in STAGES for beat in BEATS)
_BY_NAME = {str(place): place for place in PLACES}


def parse_place(text: str) -> Place:
    """'lora.proof' → Place. Raises InputError naming the nearest place."""
    if text not in _BY_NAME:
        raise unknown(str(text), _BY_NAME, "beat")
    return _BY_NAME[text]
