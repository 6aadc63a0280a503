"""Dropping the rows one does not want to train on: first a preview, then the pass itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from pipelines.data.inspection import Inspection
from pipelines.data.records import DEFAULT_DROP, INFO, Kind
from pipelines.errors import InputError

PREVIEWED = 200


@dataclass(frozen=True, slots=True)
class Dropped:
    """A conversation that cleaning drops: its row, why, and its beginning."""

    row: int
    why: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What cleaning would do. `rows`: the first PREVIEWED that it drops; `unread` rows are gone already."""

    kept: int
    dropped: int
    unread: int
    reasons: dict[str, int]
    rows: tuple[Dropped, ...]


def preview(inspection: Inspection, lines: Path, drop: Kind = DEFAULT_DROP) -> Preview:
    """Look at what `clean` with the same kinds would drop. `lines`: the conversations as inspected."""
    reasons = {
        INFO[kind].title: sum(1 for flags in inspection.flags if flags & kind)
        for kind in Kind
        if kind & drop and kind is not Kind.UNREADABLE
    }
    rows: list[Dropped] = []
    for place, line in enumerate(_lines(lines)):
        why = inspection.flags[place] & drop
        if why:
            titles = tuple(INFO[kind].title for kind in Kind if kind & why)
            rows.append(Dropped(inspection.numbers[place], titles, _beginning(line)))
            if len(rows) == PREVIEWED:
                break
    dropped = sum(1 for flags in inspection.flags if flags & drop)
    return Preview(
        kept=len(inspection.flags) - dropped,
        dropped=dropped,
        unread=len(inspection.unread),
        reasons={title: count for title, count in reasons.items() if count},
        rows=tuple(rows),
    )


def clean(inspection: Inspection, lines: Path, output: Path, drop: Kind = DEFAULT_DROP) -> int:
    """Write the conversations without those of the dropped kinds; returns how many are left.

    Of duplicates the first stays. Raises InputError when nothing would be left.
    """
    with output.open("w", encoding="utf-8") as kept:
        count = _copy(inspection, lines, kept, drop)
    if count == 0:
        raise InputError(
            "cleaning would drop every row", "cleaning", "Drop fewer kinds, or mend the rows that the problems name."
        )
    return count


def _copy(inspection: Inspection, lines: Path, kept: IO[str], drop: Kind) -> int:
    count = 0
    for flags, line in zip(inspection.flags, _lines(lines), strict=True):
        if not flags & drop:
            kept.write(line)
            count += 1
    return count


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as lines:
        yield from lines


def first_conversations(path: Path, limit: int) -> list[list[dict[str, Any]]]:
    """The messages of the first `limit` conversations, as JSON has them."""
    return [json.loads(line)["messages"] for line in islice(_lines(path), limit)]


def _beginning(line: str, length: int = 160) -> str:
    said = " → ".join(str(message["content"]) for message in json.loads(line)["messages"])
    return said if len(said) <= length else f"{said[:length]}…"
