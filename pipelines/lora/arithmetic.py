"""Merging and adding up adapters, on a real weight change: PEFT's own layers, beside the matrices they stand for.

Two adapters are cut out of ΔW, the change that fine-tuning in full made to one matrix of the running pair: the first
holds its first r directions, the second the next r. Each is scaled so that (alpha / r) · B A, or (alpha / √r) · B A
with rsLoRA (Kalajdzievski 2023, https://arxiv.org/abs/2312.03732), is that part of ΔW.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

METHODS = ("linear", "cat", "svd")  # combination types of PEFT's add_weighted_adapter
_NAMES = ("one", "two")


@dataclass(frozen=True, slots=True)
class Combination:
    """Both adapters in one, by one method.

    error:    of its ΔW against w₁ΔW₁ + w₂ΔW₂, in shares of that sum's norm, as PEFT leaves it
    unscaled: the same with its scaling set to 1. PEFT 0.21 gives the new adapter an alpha equal to its rank, for which
              alpha / r is 1, but keeps `use_rslora`, for which alpha / √r is √r: the sum gets √r times too large
    """

    method: str
    rank: int
    error: float
    unscaled: float


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What came out, each error a share of the norm of what it should be.

    rank, scaling: of the first adapter, as it was cut out
    merged:     PEFT's merged weight against W + scaling · B A
    unscaled:   the change as W + B A would have it, the scaling being forgotten
    misread:    the change when plain LoRA is read as rsLoRA, or the other way round
    """

    rank: int
    scaling: float
    merged: float
    unscaled: float
    misread: float
    combinations: tuple[Combination, ...]


def arithmetic(
    weight: torch.Tensor, change: torch.Tensor, r: int, alpha: float, rslora: bool, weights: tuple[float, float]
) -> Arithmetic:
    """Merge the first adapter, and add both up in every way of METHODS.

    weight, change: out × in; the second adapter needs directions after the first's, so r is at most half of the rank
    alpha: above 0; weights: of the two adapters in the sum, not both 0
    """
    r = max(1, min(r, min(change.shape) // 2))
    scaling = alpha / (math.sqrt(r) if rslora else r)
    other = alpha / (r if rslora else math.sqrt(r))
    parts = _cut(change, r)
    model = _adapted(weight, parts, r, alpha, rslora)
    wanted = sum(share * b @ a for share, (a, b) in zip(weights, parts, strict=True))
    combinations = []
    for method in METHODS:
        # PEFT's default computes all right singular vectors, which it then cuts off: most of the time.
        extra = {"svd_rank": r, "svd_full_matrices": False} if method == "svd" else {}
        model.add_weighted_adapter(list(_NAMES), list(weights), method, combination_type=method, **extra)
        layer = model.base_model.model.layer
        got = layer.get_delta_weight(method)
        error, unscaled = _relative(got, wanted), _relative(got / layer.scaling[method], wanted)
        combinations.append(Combination(method, int(layer.r[method]), error, unscaled))
    model.set_adapter("one")
    (a, b) = parts[0]
    merged = model.merge_and_unload(adapter_names=["one"]).layer.weight
    return Arithmetic(
        r,
        scaling,
        _relative(merged, weight + b @ a),
        abs(1 / scaling - 1),
        abs(other / scaling - 1),
        tuple(combinations),
    )


def _cut(change: torch.Tensor, r: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(A, B) of two parts of the change, B A being the part itself: A is r × in, B is out × r."""
    u, s, v = torch.linalg.svd(change, full_matrices=False)
    root = s.sqrt()
    slices = (slice(0, r), slice(r, 2 * r))
    return [(root[part, None] * v[part], u[:, part] * root[part]) for part in slices]


def _adapted(weight: torch.Tensor, parts: Any, r: int, alpha: float, rslora: bool) -> Any:
    """A PEFT model of one linear layer with the two adapters, as anybody would have loaded them."""
    from peft import LoraConfig, get_peft_model

    frame = torch.nn.Module()
    frame.layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    frame.layer.weight.data.copy_(weight)
    config = LoraConfig(r=r, lora_alpha=alpha, target_modules=["layer"], use_rslora=rslora)  # type: ignore[arg-type]
    model = get_peft_model(frame, config, adapter_name=_NAMES[0])  # type: ignore[arg-type]
    model.add_adapter(_NAMES[1], config)
    layer: Any = model.base_model.model.layer
    for name, (a, b) in zip(_NAMES, parts, strict=True):
        layer.lora_A[name].weight.data.copy_(a / layer.scaling[name])
        layer.lora_B[name].weight.data.copy_(b)
    return model


def _relative(got: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((got - wanted).norm() / wanted.norm())
