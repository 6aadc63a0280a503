"""Rows with different adapters, or none, in one forward pass.

The base computes all rows at once; what each row's LoRA adds, scaling · B A x, is then added for all rows by two
batched matrix products per layer (as in Punica, Chen et al. 2023, and S-LoRA, Sheng et al. 2023). PEFT's own way,
the argument `adapter_names` of forward, takes one adapter after the other and walks the whole module tree in every
pass: five models of the pocket pair wrote 94 tokens/s with it, 315 with this, and 72 one after another
(docs/decisions.md). It also leaves its hooks in the layers when a pass fails, and the base would be the base no more.

Not mixed are adapters whose pass is more than that sum (DoRA, embeddings, experts, whole modules): see `refusal`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class Mixture:
    """Which adapter each row has. The first `plain` rows have none, and their values are never touched."""

    def __init__(self, plain: int, stacks: dict[Any, tuple[torch.Tensor, torch.Tensor]]) -> None:
        self.plain = plain
        # Of each layer with an adapter: A (rows, in, r) and scaling · B (rows, r, out) of the rows that have one.
        self._stacks = stacks

    @classmethod
    def of(cls, model: Any, names: Sequence[str | None]) -> Mixture:
        """`names`: PEFT's name of each row's adapter, rows without one first. Copies the adapters' weights.

        Raises ValueError for another order, and for an adapter that `refusal` refuses.
        """
        plain = sum(name is None for name in names)
        mixed = [name for name in names[plain:] if name is not None]
        if plain + len(mixed) != len(names):
            raise ValueError("rows without an adapter come first")
        for name in set(mixed):
            if why := refusal(model, name):
                raise ValueError(f"{name}: {why}")
        stacks = {}
        for layer in _lora_layers(model):
            if any(name in layer.lora_A for name in mixed):
                stacks[layer] = _stack(layer, mixed)
        return cls(plain, stacks)

    def keep(self, rows: Sequence[int]) -> Mixture:
        """The same for some of the rows, in their order."""
        import torch

        plain = sum(row < self.plain for row in rows)
        index = torch.tensor([row - self.plain for row in rows if row >= self.plain], dtype=torch.long)
        if not len(index):
            return Mixture(plain, {})
        stacks = {layer: (a[index.to(a.device)], b[index.to(b.device)]) for layer, (a, b) in self._stacks.items()}
        return Mixture(plain, stacks)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """While this is open, passes of the model with its adapters switched off are mixed ones."""
        handles = [layer.register_forward_hook(self._add) for layer in self._stacks]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _add(self, layer: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        import torch

        a, b = self._stacks[layer]
        low = torch.bmm(inputs[0][self.plain :].to(a.dtype), a)
        part = output[self.plain :]
        part.copy_(torch.baddbmm(part.to(b.dtype), low, b))
        return output


def refusal(model: Any, name: str) -> str:
    """Why that adapter cannot share a pass with others; empty when it can."""
    from peft.tuners.lora.layer import Linear, LoraLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    for module in model.modules():
        if isinstance(module, LoraLayer):
            if name in module.lora_embedding_A:
                return "it adapts the embedding"
            if name in module.lora_A and not isinstance(module, Linear):
                return f"it adapts a {type(module).__name__}"
            if name in module.lora_variant or (name in module.lora_B and module.lora_B[name].bias is not None):
                return "it is more than a product of two matrices"
        elif isinstance(module, AuxiliaryTrainingWrapper) and name in module._adapters:
            return "it replaces whole modules"
    return ""


def _lora_layers(model: Any) -> list[Any]:
    from peft.tuners.lora.layer import LoraLayer

    return [module for module in model.modules() if isinstance(module, LoraLayer)]


def _stack(layer: Any, names: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """A (rows, in, r) and scaling · B (rows, r, out); smaller ranks and layers without that adapter filled with 0."""
    import torch

    here = [(layer.lora_A[name].weight, layer.lora_B[name].weight) for name in names if name in layer.lora_A]
    rank = max(a.shape[0] for a, _ in here)
    (_, width), (height, _) = here[0][0].shape, here[0][1].shape
    dtype = here[0][0].dtype
    for a, _ in here[1:]:
        dtype = torch.promote_types(dtype, a.dtype)
    stacked_a = torch.zeros(len(names), width, rank, dtype=dtype, device=here[0][0].device)
    stacked_b = torch.zeros(len(names), rank, height, dtype=dtype, device=here[0][0].device)
    for row, name in enumerate(names):
        if name in layer.lora_A:
            a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
            stacked_a[row, :, : a.shape[0]] = a.T
            stacked_b[row, : b.shape[1]] = layer.scaling[name] * b.T
    return stacked_a, stacked_b
