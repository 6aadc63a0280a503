"""A batch on the model as transformers computes it: any architecture, any adapter, quantized weights.

Prompts are padded on the left, and one that joins is read by itself before its keys and values are put beside the
others'. A model that keeps something else than keys and values (a recurrent state) is run one row at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from pipelines.models.engine.rows import MAX_ROWS, Row

if TYPE_CHECKING:
    import torch

    from pipelines.models.mixture import Mixture
    from pipelines.models.resident import Adapter, Resident


class AnyBatch:
    """See `rows.Batch`. Rows without an adapter come first, as a mixed pass wants them.

    alone: the one adapter of all rows, for one that cannot share a pass with others
    """

    def __init__(self, resident: Resident, alone: Adapter | None = None) -> None:
        self._resident, self._alone = resident, alone
        self._rows: list[Row] = []
        self._waiting: list[Row] = []
        self._cache: Any = None
        self._mask: torch.Tensor | None = None
        self._mixture: Mixture | None = None
        self._token_bytes = _token_bytes(resident.model)
        self._mergeable = _keeps_keys_and_values(resident.model)

    repeatable = False  # some layers' caches may have grown

    @property
    def rows(self) -> list[Row]:
        return [*self._rows, *self._waiting]

    @property
    def limit(self) -> int:
        return MAX_ROWS if self._mergeable else 1

    @property
    def bytes(self) -> int:
        return sum(row.room for row in self.rows) * self._token_bytes

    def missing(self, room: int) -> int:
        """See `rows.Batch`."""
        return room * self._token_bytes

    def add(self, row: Row, free: int) -> None:
        """See `rows.Batch`."""
        self._waiting.append(row)

    def remove(self, row: Row) -> None:
        """See `rows.Batch`."""
        if row in self._waiting:
            self._waiting.remove(row)
            return
        kept = [place for place, other in enumerate(self._rows) if other is not row]
        self._rows = [self._rows[place] for place in kept]
        if not kept:
            self._cache = self._mask = self._mixture = None
            return
        self._keep(kept)

    def step(self) -> tuple[list[Row], torch.Tensor]:
        """See `rows.Batch`. Gives every row its next token, and reads the prompt that has waited longest."""
        import torch

        answered, parts = list(self._rows), []
        if self._rows:
            parts.append(self._next())
        if self._waiting:
            parts.append(self._read(self._waiting[0]))
            answered.append(self._waiting.pop(0))
        return answered, torch.cat(parts)

    def _next(self) -> torch.Tensor:
        import torch

        assert self._mask is not None
        mask = torch.cat([self._mask, self._mask.new_ones((len(self._rows), 1))], dim=-1)
        with self._turn(self._mixture, self._rows) as model:
            logits = model(
                input_ids=torch.tensor([[row.pending[0]] for row in self._rows], device=self._resident.device),
                attention_mask=mask,
                position_ids=mask.sum(-1, keepdim=True) - 1,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            self._mask = mask
            return logits.float()

    def _read(self, row: Row) -> torch.Tensor:
        import torch
        from transformers import DynamicCache

        model = self._resident.model
        # Layers with a sliding window keep everything, too: only then can caches of any lengths be put together.
        cache = DynamicCache() if self._mergeable else DynamicCache(config=model.config)
        ids = torch.tensor([row.pending], device=self._resident.device)
        with self._turn(self._mix([row]), [row]) as model:
            logits = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1].float()
        mask = torch.ones_like(ids)
        if self._cache is None:
            self._cache, self._mask, self._rows = cache, mask, [row]
        else:
            self._join(row, cache, mask)
        self._mixture = self._mix(self._rows)
        return logits

    def _join(self, row: Row, cache: Any, mask: torch.Tensor) -> None:
        """Put a row behind the last one of its kind: without an adapter, or with one."""
        import torch

        assert self._mask is not None
        width = max(self._mask.shape[1], mask.shape[1])
        for own, new in zip(self._cache.layers, cache.layers, strict=True):
            if not own.is_initialized:  # a layer that uses the keys and values of another
                continue
            own.keys = torch.cat([_padded(own.keys, width), _padded(new.keys, width)])
            own.values = torch.cat([_padded(own.values, width), _padded(new.values, width)])
        self._mask = torch.cat([_padded(self._mask[..., None], width), _padded(mask[..., None], width)])[..., 0]
        self._rows.append(row)
        order = sorted(range(len(self._rows)), key=lambda place: self._rows[place].adapter is not None)
        if order != list(range(len(order))):
            self._rows = [self._rows[place] for place in order]
            self._keep(order)

    def _keep(self, places: Sequence[int]) -> None:
        """Go on with these rows, in this order, without the padding that all of them have in common."""
        import torch

        assert self._mask is not None
        index = torch.tensor(places, device=self._mask.device)
        self._mask = self._mask[index]
        begin = self._mask.shape[1] - int(self._mask.sum(-1).max())
        self._mask = self._mask[:, begin:]
        for layer in self._cache.layers:
            if layer.is_initialized:
                layer.keys, layer.values = layer.keys[index, :, begin:], layer.values[index, :, begin:]
        self._mixture = self._mix(self._rows)

    def _mix(self, rows: Sequence[Row]) -> Mixture | None:
        adapters = [row.adapter for row in rows]
        return self._resident.mix(adapters) if len({id(adapter) for adapter in adapters}) > 1 else None

    def _turn(self, mixture: Mixture | None, rows: Sequence[Row]) -> AbstractContextManager[Any]:
        if mixture is None:
            return self._resident.turn(rows[0].adapter)
        return self._resident.mixed_turn(mixture)


def _padded(tensor: torch.Tensor, width: int) -> torch.Tensor:
    """(…, T, d) → (…, width, d), zeros on the left."""
    from torch.nn.functional import pad

    return pad(tensor, (0, 0, width - tensor.shape[-2], 0))


def _keeps_keys_and_values(model: Any) -> bool:
    """Whether the model's own kind of cache is keys and values in every layer."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    layers = DynamicCache(config=model.config).layers
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


def _token_bytes(model: Any) -> int:
    """Bytes of the keys and values of one token, over all layers; 0 for a model that keeps none."""
    config = model.config.get_text_config()
    if not hasattr(config, "num_attention_heads"):
        return 0
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(config.num_hidden_layers * 2 * heads * head_dim * model.dtype.itemsize)
