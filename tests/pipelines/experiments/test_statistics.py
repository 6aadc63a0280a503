from __future__ import annotations

import itertools
import random

import pytest

from pipelines.experiments.statistics import differs, mean_of, paired, wilson


@pytest.mark.parametrize(
    "right, count, low, high",
    [  # Newcombe 1998, table I, Wilson without continuity correction
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(right: int, count: int, low: float, high: float) -> None:
    assert wilson(right, count) == pytest.approx((low, high), abs=5e-5)


def test_of_no_samples_every_share_is_possible() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_bootstrap_covers_the_true_difference_about_as_often_as_it_says() -> None:
    draw = random.Random(0)
    covered = 0
    for _ in range(200):
        first = [draw.random() < 0.8 for _ in range(100)]
        second = [draw.random() < 0.6 for _ in range(100)]
        _, low, high = paired(first, second)
        covered += low <= 0.2 <= high
    assert 0.9 <= covered / 200 <= 0.99


def test_equal_samples_leave_room_for_one_that_differs() -> None:
    assert mean_of([0.0] * 9) == (0.0, -0.1, 0.1)


def test_the_permutation_test_equals_a_full_enumeration() -> None:
    first, second = [1, 1, 1, 0, 1, 1, 0, 1, 1, 1], [0, 1, 0, 0, 0, 1, 1, 0, 0, 0]
    given = [one - other for one, other in zip(first, second, strict=True)]
    all_signs = list(itertools.product((-1, 1), repeat=10))
    reached = [abs(sum(s * d for s, d in zip(signs, given, strict=True))) >= abs(sum(given)) for signs in all_signs]
    assert differs(first, second) == pytest.approx(sum(reached) / len(all_signs), abs=0.02)
