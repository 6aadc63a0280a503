"""Intervals and tests: Wilson for one share, a paired bootstrap for a difference, a sign-flip permutation test.

Everything is seeded, so that the same samples always give the same interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from pipelines.experiments.records import Arm, Condition, Sense

Z95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution
RESAMPLES = 4_000
_SEED = 95


def wilson(right: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927); of no samples, everything is possible."""
    if count == 0:
        return 0.0, 1.0
    share, spread = right / count, Z95**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * sqrt(share * (1 - share) / count + spread / (4 * count))
    # At the ends the formula gives 0 or 1 up to rounding.
    return (0.0 if right == 0 else middle - half), (1.0 if right == count else middle + half)


def share_arm(name: str, right: Sequence[bool], note: str = "") -> Arm:
    """An arm whose number is the share of `right`."""
    low, high = wilson(sum(right), len(right))
    return Arm(name, sum(right) / max(1, len(right)), low, high, len(right), note)


def paired(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """Mean of first − second over the same samples, and its 95 % bootstrap interval (Efron 1979), over samples.

    Raises ValueError for lists of different lengths or without samples.
    """
    return mean_of([one - other for one, other in zip(first, second, strict=True)])


def mean_of(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of the values and its 95 % bootstrap interval. Where all are equal, the interval is that of one sample
    more which differs by one: a bootstrap of equal values would know everything after two samples.
    """
    given = np.asarray(values, dtype=float)
    if not given.size:
        raise ValueError("no samples")
    mean = float(given.mean())
    if np.ptp(given) == 0:
        margin = 1 / (given.size + 1)
        return mean, mean - margin, mean + margin
    low, high = np.quantile(_resampled_means(given), (0.025, 0.975))
    return mean, float(low), float(high)


def _resampled_means(given: NDArray[np.float64]) -> NDArray[np.float64]:
    rng = np.random.default_rng(_SEED)
    picked = rng.integers(0, given.size, (RESAMPLES, given.size))
    return given[picked].mean(axis=1)


def differs(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p of a paired permutation test: how often random signs give a mean difference at least as large.

    One more than counted, over one more than tried, so that it is never 0 (Phipson & Smyth 2010).
    """
    difference = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    rng = np.random.default_rng(_SEED)
    signs = rng.integers(0, 2, (RESAMPLES, difference.size)) * 2 - 1
    reached = np.abs((signs * difference).mean(axis=1)) >= abs(difference.mean()) - 1e-12
    return (1 + int(reached.sum())) / (1 + RESAMPLES)


def difference(says: str, first: Sequence[float], second: Sequence[float], sense: Sense, bound: float) -> Condition:
    """The condition that first − second, over the same samples, is at least (or at most) `bound`."""
    return Condition(says, *paired(first, second), sense, bound)


def level(says: str, right: Sequence[bool], sense: Sense, bound: float) -> Condition:
    """The condition that the share of `right` is at least (or at most) `bound`, by its Wilson interval."""
    return Condition(says, sum(right) / max(1, len(right)), *wilson(sum(right), len(right)), sense, bound)
