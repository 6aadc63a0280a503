"""Two renderings of one conversation, character by character.

What both say of a message is found by their spans; only what stands between is searched for differences. So a
megabyte that somebody said costs nothing, and is never matched with control text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from pipelines.templates.types import Rendered

MAX_PAIRS = 4_000_000  # equal pairs of characters or lines that difflib may have to look at: about a second
Side = Literal["same", "left", "right"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A stretch that both have (`same`), or that only the left or the right one has."""

    side: Side
    text: str


def compare(left: Rendered, right: Rendered) -> tuple[Difference, ...]:
    """The stretches in order; those not of `right` spell `left`, those not of `left` spell `right`."""
    found: list[Difference] = []
    for side, text in _stretches(left, right):
        if text and found and found[-1].side == side:
            found[-1] = Difference(side, found[-1].text + text)
        elif text:
            found.append(Difference(side, text))
    return tuple(found)


def _stretches(left: Rendered, right: Rendered) -> Iterator[tuple[Side, str]]:
    ours = theirs = 0
    for a, b, length in _shared_contents(left, right):
        yield from _between(left.text[ours:a], right.text[theirs:b])
        yield "same", left.text[a : a + length]
        ours, theirs = a + length, b + length
    yield from _between(left.text[ours:], right.text[theirs:])


def _shared_contents(left: Rendered, right: Rendered) -> list[tuple[int, int, int]]:
    """`(start in left, start in right, length)` of what both say of a message, in order in both."""
    shared: list[tuple[int, int, int]] = []
    said = {span.message: span for span in right.spans if span.kind == "content"}
    before = Counter(span.message for rendered in (left, right) for span in rendered.spans if span.kind == "content")
    end = 0
    for span in left.spans:
        other = said.get(span.message) if span.kind == "content" and before[span.message] == 2 else None
        if other is None or other.start < end:
            continue
        ours, theirs = left.text[span.start : span.end], right.text[other.start : other.end]
        # One of them may be trimmed.
        a, b = ours.find(theirs), theirs.find(ours)
        if a >= 0:
            shared.append((span.start + a, other.start, len(theirs)))
        elif b >= 0:
            shared.append((span.start, other.start + b, len(ours)))
        else:
            continue
        end = other.end
    return shared


def _between(left: str, right: str) -> Iterator[tuple[Side, str]]:
    """Character by character where that is quick, else line by line, else as a whole."""
    for ours, theirs in ((left, right), (left.splitlines(keepends=True), right.splitlines(keepends=True))):
        if _pairs(ours, theirs) <= MAX_PAIRS:
            yield from _matched(ours, theirs)
            return
    yield from (("left", left), ("right", right))


def _pairs(left: Sequence[str], right: Sequence[str]) -> int:
    """How many pairs of equal items there are: what `SequenceMatcher` goes through to find its longest match."""
    ours, theirs = Counter(left), Counter(right)
    return sum(count * theirs[item] for item, count in ours.items())


def _matched(left: Sequence[str], right: Sequence[str]) -> Iterator[tuple[Side, str]]:
    for kind, a, b, c, d in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if kind == "equal":
            yield "same", "".join(left[a:b])
        else:
            yield "left", "".join(left[a:b])
            yield "right", "".join(right[c:d])
