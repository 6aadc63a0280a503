"""What is said at each place of the lesson, read from assets/teaching/beats.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache

from pipelines.stages import ASSETS
from pipelines.teaching.places import BEATS, Place


@dataclass(frozen=True, slots=True)
class Beat:
    """One place of the lesson.

    say:     what is read from the last row: the analogy, the question, what is demonstrated, what is to be proved, or
             the line to remember
    notes:   for who teaches: what to say, a paragraph a line; never shown to the room
    seconds: planned; of a proof, after its verdict
    source:  who says so, where `say` holds a figure; else empty
    choices: of a prediction, in the order of `Demonstration.outcome`; else none
    title:   a few words over a demonstration; else empty
    """

    place: Place
    say: str
    notes: tuple[str, ...]
    seconds: float
    source: str = ""
    choices: tuple[str, ...] = ()
    title: str = ""


@cache
def beats() -> dict[Place, Beat]:
    """All of them, by place, in the order of the lesson."""
    tables = tomllib.loads((ASSETS / "teaching" / "beats.toml").read_text(encoding="utf-8"))
    return {
        Place(stage, beat): _beat(Place(stage, beat), table)
        for stage, parts in tables.items()
        for beat, table in sorted(parts.items(), key=lambda part: BEATS.index(part[0]))
    }


def beat_at(place: Place) -> Beat:
    """The beat of a place."""
    return beats()[place]


def _beat(place: Place, table: dict[str, object]) -> Beat:
    lines = str(table["notes"]).strip().splitlines()
    choices = table.get("choices", [])
    assert isinstance(choices, list)
    return Beat(
        place,
        say=str(table["say"]).strip(),
        notes=tuple(line.strip() for line in lines if line.strip()),
        seconds=float(str(table["seconds"])),
        source=str(table.get("source", "")),
        choices=tuple(map(str, choices)),
        title=str(table.get("title", "")),
    )
