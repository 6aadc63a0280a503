"""What a data set weighs: rows, turns, token lengths, and the steps and tokens of a run over it.

Lengths are tokens of the rendered conversation when a counter is given, else characters. Nothing is
estimated here: a histogram counts every row.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.errors import InputError
from pipelines.messages import Message

BINS = 24


@dataclass(frozen=True, slots=True)
class Histogram:
    """`edges` has one more entry than `counts`; bin i holds edges[i] <= value < edges[i + 1]."""

    edges: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stats:
    """Of the converted conversations.

    rows:    rows in the source, converted or not
    unit:    what lengths are counted in, "tokens" or "characters"
    median, p95, longest: of the lengths; `total` is their sum
    turns:   how many conversations have how many messages
    roles:   messages of each role
    """

    rows: int
    conversations: int
    messages: int
    unit: str
    total: int
    mean: float
    median: int
    p95: int
    longest: int
    histogram: Histogram
    turns: dict[int, int]
    roles: dict[str, int]


@dataclass(frozen=True, slots=True)
class Budget:
    """One training run over a data set.

    steps:           optimizer steps
    seen:            tokens of the examples that are seen, each cut at max_length
    padded:          tokens the model computes when every batch is padded to its longest row
    cut:             conversations longer than max_length
    """

    steps: int
    seen: int
    padded: int
    cut: int


def statistics(
    conversations: Sequence[Sequence[Message]], lengths: Sequence[int], unit: str, rows: int | None = None
) -> Stats:
    """Statistics of conversations whose lengths were counted in `unit`; the two are parallel."""
    turns = Counter(len(messages) for messages in conversations)
    roles = Counter(message.role for messages in conversations for message in messages)
    return summarise(lengths, unit, turns, roles, len(conversations) if rows is None else rows)


def summarise(lengths: Sequence[int], unit: str, turns: Counter[int], roles: Counter[str], rows: int) -> Stats:
    """The same from counts kept while streaming."""
    ordered = sorted(lengths)
    total = sum(ordered)
    return Stats(
        rows=rows,
        conversations=len(ordered),
        messages=sum(roles.values()),
        unit=unit,
        total=total,
        mean=total / len(ordered) if ordered else 0.0,
        median=_quantile(ordered, 0.5),
        p95=_quantile(ordered, 0.95),
        longest=ordered[-1] if ordered else 0,
        histogram=histogram(ordered),
        turns=dict(sorted(turns.items())),
        roles=dict(roles.most_common()),
    )


def histogram(lengths: Sequence[int], bins: int = BINS) -> Histogram:
    """At most `bins` bins of equal, whole width from the shortest to the longest."""
    if not lengths:
        return Histogram((0, 1), (0,))
    low, high = min(lengths), max(lengths)
    width = max(1, math.ceil((high - low + 1) / bins))
    count = (high - low) // width + 1
    counts = Counter((length - low) // width for length in lengths)
    return Histogram(
        tuple(low + width * position for position in range(count + 1)),
        tuple(counts[position] for position in range(count)),
    )


def budget(lengths: Sequence[int], epochs: float, batch_size: int, accumulation: int, max_length: int) -> Budget:
    """Steps and tokens of a run. Rows are batched in file order, which is what padding depends on.

    The last, smaller group of an epoch also makes a step, as in transformers' Trainer.
    Raises InputError for a value that is not positive.
    """
    for name, value in (
        ("epochs", epochs),
        ("batch size", batch_size),
        ("gradient accumulation", accumulation),
        ("max length", max_length),
    ):
        if value is None or not value > 0:
            raise InputError(f"{value} is not above zero", name, "Use a positive number.")
    cut = [min(length, max_length) for length in lengths]
    batches = [cut[start : start + batch_size] for start in range(0, len(cut), batch_size)]
    per_epoch = math.ceil(len(batches) / accumulation)
    return Budget(
        steps=math.ceil(per_epoch * epochs),
        seen=round(sum(cut) * epochs),
        padded=round(sum(max(batch) * len(batch) for batch in batches) * epochs),
        cut=sum(length > max_length for length in lengths),
    )


def _quantile(ordered: Sequence[int], share: float) -> int:
    """The smallest length that at least `share` of the rows do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0
