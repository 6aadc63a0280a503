"""What LoRA adapters add to the products of a lean pass, tokens of different adapters side by side.

Of each adapter, what it adds to a product of the lean model (several modules in one) is two matrices: A (in, r) and
scaling · B (r, out). A pass with one adapter takes two products more; with several, the tokens are laid out adapter by
adapter, and two batched products do for all of them (as in Punica, Chen et al. 2023, and S-LoRA, Sheng et al. 2023),
without a copy of the weights for each row. Tokens without an adapter are never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.models.engine.lean import LeanModel

if TYPE_CHECKING:
    import torch

    Matrices = dict[tuple[int, str], tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True, slots=True, eq=False)
class PackedAdapter:
    """Of each adapted site, A (in, r) and scaling · B (r, out); r is that of all its modules together."""

    matrices: Matrices

    @property
    def bytes(self) -> int:
        return sum(part.numel() * part.element_size() for pair in self.matrices.values() for part in pair)


def pack(lean: LeanModel, model: Any, name: str) -> PackedAdapter | None:
    """The adapter of PEFT's `name`; None when it adapts something else than the linear layers of the lean model."""
    from peft.tuners.lora.layer import LoraLayer

    found: dict[tuple[int, str], list[tuple[int, int, Any]]] = {}
    for layer in model.modules():
        if isinstance(layer, LoraLayer) and name in layer.lora_A:
            place = lean.places.get(id(layer.get_base_layer()))
            if place is None:
                return None
            found.setdefault((place.layer, place.site), []).append((place.begin, place.outputs, layer))
    return PackedAdapter({site: _join(modules, name, lean.sites[site[1]]) for site, modules in found.items()})


def _join(modules: Sequence[tuple[int, int, Any]], name: str, outputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Side by side the As, block by block the Bs: a module's r reaches its own outputs only."""
    import torch

    down = torch.cat([layer.lora_A[name].weight.detach().T for _, _, layer in modules], dim=1).contiguous()
    up = torch.zeros(down.shape[1], outputs, dtype=down.dtype, device=down.device)
    row = 0
    for begin, count, layer in modules:
        weight = layer.lora_B[name].weight.detach()
        up[row : row + weight.shape[1], begin : begin + count] = layer.scaling[name] * weight.T
        row += weight.shape[1]
    return down, up


class AdapterMix:
    """Which adapter each token of a pass has; None for one without."""

    def __init__(self, adapters: Sequence[PackedAdapter | None], stacks: Stacks) -> None:
        import torch

        # In an order that stays as rows come and go, so that the stacks are made again for other adapters only.
        present = sorted({adapter for adapter in adapters if adapter is not None}, key=id)
        places: dict[PackedAdapter, list[int]] = {adapter: [] for adapter in present}
        for token, adapter in enumerate(adapters):
            if adapter is not None:
                places[adapter].append(token)
        distinct = tuple(places)
        device = stacks.device
        self._all = len(distinct) == 1 and len(places[distinct[0]]) == len(adapters)
        self._matrices = distinct[0].matrices if len(distinct) == 1 else stacks.of(distinct)
        self._many = len(distinct) > 1
        widest = max(len(tokens) for tokens in places.values())
        flat = [token for tokens in places.values() for token in tokens]
        self._tokens = torch.tensor(flat, device=device)
        # Several adapters: (adapters, widest); short groups are filled with their first token, which is left out again.
        laid = [tokens + tokens[:1] * (widest - len(tokens)) for tokens in places.values()]
        self._laid = torch.tensor(laid, device=device)
        kept = [group * widest + at for group, tokens in enumerate(places.values()) for at in range(len(tokens))]
        self._kept = None if len(kept) == self._laid.numel() else torch.tensor(kept, device=device)

    def add(self, layer: int, site: str, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        """See `lean.Adds`."""
        import torch

        pair = self._matrices.get((layer, site))
        if pair is None:
            return
        down, up = pair
        if self._many:
            added = torch.bmm(torch.bmm(inputs[self._laid].to(down.dtype), down), up).flatten(0, 1)
            added = added if self._kept is None else added[self._kept]
        elif self._all:
            added = inputs.to(down.dtype) @ down @ up
        else:
            added = inputs[self._tokens].to(down.dtype) @ down @ up
        if self._all:
            outputs.add_(added)
        else:
            outputs.index_add_(0, self._tokens, added.to(outputs.dtype))


class Stacks:
    """Matrices of several adapters as one tensor each, kept as long as the same adapters are asked for."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self._of: tuple[PackedAdapter, ...] = ()
        self._matrices: Matrices = {}

    def of(self, adapters: tuple[PackedAdapter, ...]) -> Matrices:
        """A (adapters, in, r) and B (adapters, r, out) of each site that one of them adapts, filled up with zeros."""
        if adapters != self._of:
            sites = {site for adapter in adapters for site in adapter.matrices}
            self._matrices = {site: _stack([adapter.matrices.get(site) for adapter in adapters]) for site in sites}
            self._of = adapters
        return self._matrices


def _stack(pairs: Sequence[tuple[torch.Tensor, torch.Tensor] | None]) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    there = [pair for pair in pairs if pair is not None]
    rank = max(down.shape[1] for down, _ in there)
    first_down, first_up = there[0]
    dtype = first_down.dtype
    for down, _ in there[1:]:
        dtype = torch.promote_types(dtype, down.dtype)
    downs = first_down.new_zeros((len(pairs), first_down.shape[0], rank), dtype=dtype)
    ups = first_up.new_zeros((len(pairs), rank, first_up.shape[1]), dtype=dtype)
    for number, pair in enumerate(pairs):
        if pair is not None:
            downs[number, :, : pair[0].shape[1]], ups[number, : pair[1].shape[0]] = pair
    return downs, ups
