"""The arithmetic of an axis: round ticks, ends, the place of a value, and how a number is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence


def number(value: float) -> str:
    """A number for an axis: 12,000 · 0.25 · 3e-05."""
    if value == 0:
        return "0"
    if abs(value) < 0.001:
        return f"{value:.0e}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def ticks(low: float, high: float, *, log: bool = False, about: int = 5) -> list[float]:
    """Round numbers within [low, high]: steps of 1, 2 or 5 times a power of ten; powers of ten when `log`."""
    if log:
        powers = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
        return [10.0**power for power in powers] or [low, high]
    if high <= low:
        return [low]
    raw = (high - low) / about
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(position * step, 12) for position in range(first, math.floor(high / step + 1e-9) + 1)]


def ends(fixed: tuple[float, float] | None, values: Sequence[float], pad: bool = False) -> tuple[float, float]:
    """Smallest and largest of an axis: `fixed`, or what `values` need, with a little air where `pad` says so."""
    if fixed:
        return fixed
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low == high:
        return (low - 0.5, high + 0.5) if low < 1 else (low / 2, high * 2)
    margin = 0.05 * (high - low) if pad else 0.0
    return low - margin if low - margin > 0 or low < 0 else 0.0, high + margin


def scale(low: float, high: float, log: bool) -> Callable[[float], float]:
    """From a value to its place between 0 and 1, cut off at the ends."""
    transform: Callable[[float], float] = math.log10 if log else float
    start, width = transform(low), transform(high) - transform(low) or 1.0
    return lambda value: min(1.0, max(0.0, (transform(value) - start) / width))
