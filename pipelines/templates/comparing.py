"""Two renderings, character by character."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

MAX_CHARACTERS = 6_000  # beyond it the comparison is by line: difflib's time grows with the square of the length


@dataclass(frozen=True, slots=True)
class Difference:
    """A stretch that both have (`same`), or that only the left or the right one has."""

    side: Literal["same", "left", "right"]
    text: str


def compare(left: str, right: str) -> tuple[Difference, ...]:
    """The stretches in order; those not of `right` spell `left`, those not of `left` spell `right`."""
    found: list[Difference] = []
    for side, text in _compare(left, right):
        if text and found and found[-1].side == side:
            found[-1] = Difference(side, found[-1].text + text)
        elif text:
            found.append(Difference(side, text))
    return tuple(found)


def _compare(left: str, right: str) -> list[tuple[Literal["same", "left", "right"], str]]:
    by_line = max(len(left), len(right)) > MAX_CHARACTERS
    ours: Sequence[str] = left.splitlines(keepends=True) if by_line else left
    theirs: Sequence[str] = right.splitlines(keepends=True) if by_line else right
    found: list[tuple[Literal["same", "left", "right"], str]] = []
    for kind, a, b, c, d in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        if kind == "equal":
            found.append(("same", "".join(ours[a:b])))
        else:
            found += [("left", "".join(ours[a:b])), ("right", "".join(theirs[c:d]))]
    return found
