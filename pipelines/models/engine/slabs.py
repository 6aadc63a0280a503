"""Keys and values of rows that live for a while: rows of like capacity share one block of memory, a slab.

A slab grows and shrinks by whole rows, so that memory follows the people who are there. Capacities are powers of two:
a short question beside a long text is not padded to its length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SMALLEST = 64  # tokens


@dataclass(frozen=True, slots=True)
class CacheShape:
    """Of one token: (layers, 2, key heads, head dimension), keys and values."""

    layers: int
    key_heads: int
    head_dim: int
    dtype: Any
    device: Any

    @property
    def token_bytes(self) -> int:
        return self.layers * 2 * self.key_heads * self.head_dim * self.dtype.itemsize


def capacity_of(tokens: int) -> int:
    """Tokens that a row of so many is given."""
    return max(SMALLEST, 1 << (tokens - 1).bit_length())


class Slab:
    """Rows of at most `capacity` tokens, in slots from 0 without a gap. `lengths[slot]`: how many tokens are there."""

    def __init__(self, shape: CacheShape, capacity: int) -> None:
        self.capacity = capacity
        self.lengths: list[int] = []
        self.dtype, self.device = shape.dtype, shape.device
        self._shape = shape
        self._take(self._room(0))

    @property
    def bytes(self) -> int:
        return self._slots * self.row_bytes

    @property
    def row_bytes(self) -> int:
        return self.capacity * self._shape.token_bytes

    @property
    def missing(self) -> int:
        """Bytes that one more row would take."""
        return 0 if len(self.lengths) < self._slots else self.row_bytes

    @property
    def _slots(self) -> int:
        return int(self._store.shape[1])

    def flat(self, layer: int) -> torch.Tensor:
        """Of a layer, (slots · capacity, 2 · key heads, head dimension), keys before values; token t of slot s is at
        s · capacity + t."""
        return self._flat[layer]

    def heads(self, layer: int, slot: int, rows: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of the first tokens of some rows, (rows, key heads, tokens, head dimension)."""
        heads, d = self._shape.key_heads, self._shape.head_dim
        size, stride = (rows, heads, tokens, d), (self.capacity * 2 * heads * d, d, 2 * heads * d, 1)
        flat = self._flat[layer]
        begin = flat.storage_offset() + slot * stride[0]
        # One view instead of four: this runs for each layer of each pass.
        return flat.as_strided(size, stride, begin), flat.as_strided(size, stride, begin + heads * d)

    def add(self, spare: int = 0) -> int:
        """The slot of a new, empty row; `spare`: how many more the slab may grow by while it is at it."""
        if len(self.lengths) == self._slots:
            self._resize(self._slots + 1 + spare)
        self.lengths.append(0)
        return len(self.lengths) - 1

    def move(self, source: int, target: int) -> None:
        """Put a row's tokens into another slot, in place of those that were there."""
        length, before = self.lengths[source], self.lengths[target]
        self._store[:, target, :length] = self._store[:, source, :length]
        self._store[:, target, length:before] = 0
        self.lengths[target] = length

    def drop_last(self) -> None:
        """Take the last row out, and give memory back when little of it is used."""
        written = self.lengths.pop()
        if not self.lengths:
            self._take(self._room(0))
        elif len(self.lengths) <= self._slots // 4:
            self._resize(self._slots // 2)
        else:
            self._store[:, len(self.lengths), :written] = 0

    def _resize(self, slots: int) -> None:
        kept, store = len(self.lengths), self._room(slots)
        longest = max(self.lengths, default=0)
        store[:, :kept, :longest] = self._store[:, :kept, :longest]
        self._take(store)

    def _take(self, store: torch.Tensor) -> None:
        self._store = store
        self._flat = [layer.flatten(0, 1) for layer in store]

    def _room(self, slots: int) -> torch.Tensor:
        import torch

        shape = self._shape
        # Zeros, here and where a row has left: what no row has written is masked, but a NaN times a weight of 0 is NaN.
        return torch.zeros(
            (shape.layers, slots, self.capacity, 2 * shape.key_heads, shape.head_dim),
            dtype=shape.dtype,
            device=shape.device,
        )
