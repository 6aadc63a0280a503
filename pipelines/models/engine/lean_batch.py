"""A batch on the lean model: prompts are read piece by piece beside the tokens that others get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.models.engine.adapters import AdapterMix, PackedAdapter, Stacks
from pipelines.models.engine.attention import ManyTokens, NextTokens
from pipelines.models.engine.lean import LeanModel
from pipelines.models.engine.rows import MAX_ROWS, Row
from pipelines.models.engine.slabs import CacheShape, Slab, capacity_of

if TYPE_CHECKING:
    import torch

PIECE = 256  # tokens of prompts that one pass reads, so that a long prompt holds nobody up for long


@dataclass(slots=True)
class _State:
    """slot: in `slab`; reading: its prompt is not read to the end."""

    slab: Slab
    slot: int
    adapter: PackedAdapter | None
    reading: bool = True


class LeanBatch:
    """See `rows.Batch`. In each slab, rows that get their next tokens come first, those that read come after them."""

    def __init__(self, lean: LeanModel) -> None:
        self._lean = lean
        self._shape = CacheShape(lean.layers, lean.key_heads, lean.head_dim, lean.dtype, lean.device)
        self._slabs: dict[int, Slab] = {}
        self._rows: dict[Slab, list[Row]] = {}
        self._stacks = Stacks(lean.device)
        self._mixed: tuple[tuple[PackedAdapter | None, ...], AdapterMix | None] = ((), None)

    repeatable = True  # it writes to the same places again

    @property
    def limit(self) -> int:
        """See `rows.Batch`."""
        return MAX_ROWS

    @property
    def rows(self) -> list[Row]:
        return [row for rows in self._rows.values() for row in rows]

    @property
    def bytes(self) -> int:
        return sum(slab.bytes for slab in self._slabs.values())

    def missing(self, room: int) -> int:
        """See `rows.Batch`."""
        capacity = capacity_of(room)
        slab = self._slabs.get(capacity)
        return slab.missing if slab is not None else capacity * self._shape.token_bytes

    def add(self, row: Row, free: int) -> None:
        """See `rows.Batch`. A slab grows by half at a time where that is free: growing copies it."""
        capacity = capacity_of(row.room)
        slab = self._slabs.get(capacity) or Slab(self._shape, capacity)
        slot = slab.add(spare=min(len(slab.lengths) // 2, max(0, free // slab.row_bytes - 1)))
        self._slabs[capacity] = slab
        self._rows.setdefault(slab, []).append(row)
        row.state = _State(slab, slot, row.adapter.packed if row.adapter else None)

    def remove(self, row: Row) -> None:
        """See `rows.Batch`. The last that gets tokens takes its place, the last that reads the place of that."""
        slab, hole = row.state.slab, row.state.slot
        rows = self._rows[slab]
        ready = sum(not other.state.reading for other in rows)
        for last in (ready - 1, len(rows) - 1):
            if last > hole:
                slab.move(last, hole)
                rows[hole], rows[hole].state.slot = rows[last], hole
                hole = last
        rows.pop()
        slab.drop_last()
        if not rows:
            del self._rows[slab], self._slabs[slab.capacity]

    def step(self) -> tuple[list[Row], torch.Tensor]:
        """See `rows.Batch`."""
        import torch

        device = self._lean.device
        ids: list[int] = []
        positions: list[int] = []
        owners: list[PackedAdapter | None] = []
        parts: list[NextTokens | ManyTokens] = []
        answered: list[Row] = []
        last: list[int] = []
        for slab, rows in self._rows.items():
            ready = [row for row in rows if not row.state.reading]
            if ready:
                parts.append(NextTokens(slab, len(ids), len(ready)))
                answered += ready
                last += range(len(ids), len(ids) + len(ready))
                ids += [row.pending[0] for row in ready]
                positions += slab.lengths[: len(ready)]
                owners += [row.state.adapter for row in ready]
        read: list[tuple[Row, int]] = []
        left = PIECE
        for slab, rows in self._rows.items():
            for row in rows:
                if not row.state.reading or left == 0:
                    continue
                count, begin = min(left, len(row.pending)), slab.lengths[row.state.slot]
                parts.append(ManyTokens(slab, row.state.slot, len(ids), count))
                ids += row.pending[:count]
                positions += range(begin, begin + count)
                owners += [row.state.adapter] * count
                read.append((row, count))
                left -= count
                if count == len(row.pending):
                    answered.append(row)
                    last.append(len(ids) - 1)
        with torch.inference_mode():
            logits = self._lean.forward(
                torch.tensor(ids, device=device),
                torch.tensor(positions, device=device),
                parts,
                None if len(last) == len(ids) else torch.tensor(last, dtype=torch.long, device=device),
                self._mix(tuple(owners)),
            ).float()
        for slab, rows in self._rows.items():
            for row in rows:
                if not row.state.reading:
                    slab.lengths[row.state.slot] += 1
        for row, count in read:
            row.state.slab.lengths[row.state.slot] += count
            row.state.reading = count < len(row.pending)
            row.pending = row.pending[count:]
        return answered, logits

    def _mix(self, owners: tuple[PackedAdapter | None, ...]) -> AdapterMix | None:
        if self._mixed[0] != owners:
            self._mixed = owners, AdapterMix(owners, self._stacks) if any(owners) else None
        return self._mixed[1]
