"""Histogram, quantiles, and the steps of a run as transformers counts them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.data.stats import budget, histogram, statistics
from pipelines.errors import InputError
from pipelines.messages import Message

LENGTHS = st.lists(st.integers(1, 10_000), min_size=1, max_size=200)


@given(LENGTHS)
def test_a_histogram_counts_every_length_once(lengths: list[int]) -> None:
    found = histogram(lengths)
    assert sum(found.counts) == len(lengths) and len(found.edges) == len(found.counts) + 1 <= 25
    for place, count in enumerate(found.counts):
        assert count == sum(found.edges[place] <= length < found.edges[place + 1] for length in lengths)


def test_statistics_of_two_conversations() -> None:
    one, two = [Message("user", "a"), Message("assistant", "b")], [Message("system", "c")]
    found = statistics([one, two], [2, 10], "tokens", rows=3)
    assert (found.rows, found.conversations, found.messages, found.total) == (3, 2, 3, 12)
    assert (found.median, found.p95, found.longest, found.turns) == (2, 10, 10, {1: 1, 2: 1})


def test_no_conversations_have_no_lengths() -> None:
    found = statistics([], [], "tokens")
    assert (found.total, found.mean, found.longest) == (0, 0.0, 0)


@given(LENGTHS, st.integers(1, 8), st.integers(1, 4), st.integers(1, 3))
def test_steps_are_those_of_the_trainer(lengths: list[int], batch: int, accumulation: int, epochs: int) -> None:
    """transformers.Trainer: ceil(batches / accumulation) steps per epoch, the last and smaller one included."""
    found = budget(lengths, epochs, batch, accumulation, 512)
    assert found.steps == epochs * math.ceil(math.ceil(len(lengths) / batch) / accumulation)
    assert found.seen <= found.padded and found.cut == sum(length > 512 for length in lengths)


@pytest.mark.parametrize("name", ["epochs", "batch_size", "accumulation", "max_length"])
def test_a_setting_that_is_not_positive_is_named(name: str) -> None:
    settings = {"epochs": 1.0, "batch_size": 1, "accumulation": 1, "max_length": 1} | {name: 0}
    with pytest.raises(InputError, match="0 is not above zero"):
        budget([1], **settings)  # type: ignore[arg-type]
