"""Attention of the tokens of one pass over the rows of slabs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.models.engine.slabs import Slab

if TYPE_CHECKING:
    import torch


class NextTokens:
    """One token each of the first rows of a slab; all tokens together are `begin` to `end` of the pass."""

    def __init__(self, slab: Slab, begin: int, count: int) -> None:
        import torch
        from torch.nn.functional import scaled_dot_product_attention

        self._attention = scaled_dot_product_attention
        self.begin, self.end = begin, begin + count
        self._slab, self._count = slab, count
        lengths = slab.lengths[:count]
        self._longest = max(lengths) + 1
        device = slab.device
        places = [slot * slab.capacity + length for slot, length in enumerate(lengths)]
        self._where = torch.tensor(places, device=device)
        self._mask: torch.Tensor | None = None
        if min(lengths) + 1 < self._longest:
            at = torch.tensor(lengths, device=device)
            hidden = torch.arange(self._longest, device=device) > at[:, None]
            self._mask = _additive(hidden, slab)[:, None, None]

    def attend(self, layer: int, q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
        """See `lean.Attends`."""
        slab, rows = self._slab, self._count
        slab.flat(layer).index_copy_(0, self._where, kv)
        keys, values = slab.heads(layer, 0, rows, self._longest)
        # The query heads that share a key head are its queries: nothing is repeated.
        queries = q.reshape(rows, keys.shape[1], -1, keys.shape[3])
        return self._attention(queries, keys, values, attn_mask=self._mask).reshape(rows, -1)


class ManyTokens:
    """The next tokens of one row, for instance its prompt: `begin` to `end` of the pass."""

    def __init__(self, slab: Slab, slot: int, begin: int, count: int) -> None:
        import torch
        from torch.nn.functional import scaled_dot_product_attention

        self._attention = scaled_dot_product_attention
        self.begin, self.end = begin, begin + count
        self._slab, self._slot = slab, slot
        self._from = slab.lengths[slot]
        self._mask: torch.Tensor | None = None
        if count > 1:
            device = slab.device
            at = torch.arange(self._from, self._from + count, device=device)
            hidden = torch.arange(self._from + count, device=device) > at[:, None]
            self._mask = _additive(hidden, slab)

    def attend(self, layer: int, q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
        """See `lean.Attends`."""
        slab, count, end = self._slab, len(q), self._from + len(q)
        begin = self._slot * slab.capacity + self._from
        slab.flat(layer)[begin : begin + count] = kv
        keys, values = slab.heads(layer, self._slot, 1, end)
        key_heads, d = keys.shape[1], keys.shape[3]
        groups = q.shape[1] // key_heads
        mask = None if self._mask is None else self._mask.repeat(groups, 1)
        queries = q.reshape(count, key_heads, groups, d).permute(1, 2, 0, 3).reshape(1, key_heads, groups * count, d)
        mixed = self._attention(queries, keys, values, attn_mask=mask)
        return mixed.view(key_heads, groups, count, d).permute(2, 0, 1, 3).reshape(count, -1)


def _additive(hidden: torch.Tensor, slab: Slab) -> torch.Tensor:
    """Zero where a key is seen, minus infinity where it is hidden."""
    import torch

    return torch.zeros(hidden.shape, dtype=slab.dtype, device=hidden.device).masked_fill_(hidden, float("-inf"))


Parts = Sequence[NextTokens | ManyTokens]
