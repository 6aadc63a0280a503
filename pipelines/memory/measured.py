"""How good the estimate is: published peaks of real runs beside what is estimated for the same settings.

assets/memory/measured.csv has one published figure per row, with its source. Roles: "calibration" rows set the
constants of `overhead` and of compiled layers; "test" rows were not looked at for that and are what the error is
stated over; "other" rows are shown but not scored, with the reason in their note. Runs with other kernels (Unsloth's),
with data whose length is not stated, and those that ran out of memory are left out.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from pipelines.memory.estimate import Estimate, estimate
from pipelines.memory.setup import MemorySetup

TABLE = Path(__file__).resolve().parents[2] / "assets" / "memory" / "measured.csv"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One run: measured and estimated bytes of one GPU, by the same measure.

    measure: "allocated" and "reserved" are PyTorch's counters, "device" is what nvidia-smi shows
    """

    key: str
    role: str
    measured: int
    estimated: int
    measure: str
    note: str
    source: str
    setup: MemorySetup

    @property
    def error(self) -> float:
        """Signed, relative to the measurement."""
        return self.estimated / self.measured - 1


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Absolute relative errors over the test rows. `worst`: the row with the largest."""

    rows: int
    median: float
    p90: float
    worst: Comparison


@cache
def comparisons() -> tuple[Comparison, ...]:
    """Every row of the table, in its order."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(_compare(row) for row in csv.DictReader(file))


def accuracy(rows: Sequence[Comparison]) -> Accuracy:
    """The errors of the test rows among `rows`; the 90th percentile is the smallest error that 90 % do not
    pass.
    """
    tests = sorted((row for row in rows if row.role == "test"), key=lambda row: abs(row.error))
    errors = [abs(row.error) for row in tests]
    p90 = errors[math.ceil(0.9 * len(errors)) - 1]
    return Accuracy(len(tests), statistics.median(errors), p90, tests[-1])


def _compare(row: dict[str, str]) -> Comparison:
    setup = _setup(row)
    seen = _as_measured(estimate(setup), row["measure"], float(row["gpu_gib"]) * 2**30)
    return Comparison(
        row["id"],
        row["role"],
        int(row["measured_bytes"]),
        seen,
        row["measure"],
        row["note"],
        row["source"],
        setup,
    )


def _as_measured(result: Estimate, measure: str, capacity: float) -> int:
    """The part of the estimate that this counter sees. What is reserved never passes what the card has."""
    if measure == "allocated":
        return result.total - result.unseen - result.fragmentation
    if measure == "reserved":
        return int(min(result.total, capacity) - result.unseen)
    return int(min(result.total, capacity))


def _setup(row: dict[str, str]) -> MemorySetup:
    values: dict[str, object] = {}
    defaults = MemorySetup("")
    for field in fields(MemorySetup):
        text, default = row[field.name], getattr(defaults, field.name)
        if isinstance(default, bool):
            values[field.name] = text == "True"
        else:
            values[field.name] = type(default)(text)
    return MemorySetup(**values)  # type: ignore[arg-type]
