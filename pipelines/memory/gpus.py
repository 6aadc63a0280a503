"""GPUs that people train on, from assets/gpus.csv: memory, speed, price, each with its source."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pipelines.memory.estimate import Estimate, estimate
from pipelines.memory.setup import MemorySetup

TABLE = Path(__file__).resolve().parents[2] / "assets" / "gpus.csv"
_COUNTS = (
    2,
    4,
    8,
    16,
    32,
    64,
    128,
)  # how many GPUs are tried when one is too small: whole machines and their halves


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU.

    gib: memory as nvidia-smi reports it, which is less than the name says; bandwidth: GB/s
    tflops: dense throughput in `precision` ("bf16", or "fp16" where the card has no bf16)
    usd_per_hour: a price once asked for one, by price_source on price_date; None where nobody rents it by
        list price
    """

    key: str
    title: str
    gib: float
    bandwidth: float
    tflops: float
    precision: str
    usd_per_hour: float | None
    price_source: str
    price_date: str


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a setup runs on a GPU as it is; `count`: GPUs it takes, sharded by FSDP where one is too small.

    None where even 128 are too small: then the activations of one GPU alone do not fit."""

    gpu: Gpu
    fits: bool
    count: int | None


@cache
def gpus() -> tuple[Gpu, ...]:
    """Every GPU, by memory and then by name."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = [
            Gpu(
                row["key"],
                row["title"],
                float(row["gib"]),
                float(row["bandwidth_gb_per_s"]),
                float(row["tflops"]),
                row["precision"],
                float(row["usd_per_hour"]) if row["usd_per_hour"] else None,
                row["price_source"],
                row["price_date"],
            )
            for row in csv.DictReader(file)
        ]
    return tuple(sorted(rows, key=lambda gpu: (gpu.gib, gpu.title)))


def fits(result: Estimate, table: Sequence[Gpu] | None = None) -> tuple[Fit, ...]:
    """Each GPU against the estimate; where one is too small, the number of them that fits with FSDP."""
    table = table or gpus()
    totals: dict[int, int] = {}

    def needed(count: int) -> int:
        if count not in totals:
            totals[count] = estimate(_sharded(result.setup, count)).total
        return totals[count]

    found = []
    for gpu in table:
        room = gpu.gib * 2**30
        if result.total <= room:
            found.append(Fit(gpu, True, result.setup.gpus))
            continue
        more = (count for count in _COUNTS if count > result.setup.gpus or result.setup.gpus == 1)
        found.append(Fit(gpu, False, next((count for count in more if needed(count) <= room), None)))
    return tuple(found)


def _sharded(setup: MemorySetup, count: int) -> MemorySetup:
    sharding = setup.sharding if setup.sharding in ("zero3", "fsdp") else "fsdp"
    return replace(setup, gpus=count, sharding=sharding)
