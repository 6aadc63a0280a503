"""Trainable parameters of a LoRA adapter, equal to what PEFT 0.21.2 counts once it has built one.

A module with weight W of shape out × in gets A of r × in and B of out × r: r · (in + out) parameters. DoRA
(Liu et al. 2024, https://arxiv.org/abs/2402.09353) adds one magnitude per output. `modules_to_save` trains a
full copy and keeps the original. `total` is PEFT's "all params": model, adapter and copies together.

Not covered: `lora_bias`, rank patterns, `layers_to_transform`, and adapters on convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.architecture import Architecture, Weight, architecture
from pipelines.errors import InputError, unknown
from pipelines.lora.targets import Resolution, Target, resolve

MAX_RANK = 65_536
# PEFT keeps the adapter of a half-precision model in fp32 (`autocast_adapter_dtype`), and saves it so;
# copies made by modules_to_save keep the model's own dtype, here bf16.
ADAPTER_BYTES = 4
COPY_BYTES = 2


@dataclass(frozen=True, slots=True)
class LoraSetup:
    """The settings that change a count. `alpha` scales the update by alpha / r and changes none."""

    r: int = 16
    alpha: float = 32
    targets: str = "all-linear"
    dora: bool = False
    modules_to_save: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModuleRow:
    """One kind of module, over all layers.

    name: with `{}` for the layer; count: layers that have it; shape: of one weight, out × in (experts × out
        × in)
    rank: of one adapter; trainable: parameters in all layers together; how: "lora", "dora" or "full copy"
    """

    name: str
    count: int
    shape: tuple[int, ...]
    rank: int
    trainable: int
    how: str


@dataclass(frozen=True, slots=True)
class LoraCount:
    """The counts of one adapter. `percent`: of `total`; `adapter_bytes`: tensors of the saved adapter."""

    trainable: int
    total: int
    percent: float
    adapter_bytes: int
    modules: tuple[ModuleRow, ...]
    resolution: Resolution

    @property
    def adapter_parameters(self) -> int:
        """Trainable parameters without the full copies of modules_to_save."""
        return sum(row.trainable for row in self.modules if row.how != "full copy")


def count(model: Architecture, setup: LoraSetup) -> LoraCount:
    """Count the adapter `setup` on `model`. Raises InputError for a setting that PEFT refuses as well."""
    if isinstance(setup.r, bool) or not isinstance(setup.r, int) or not 1 <= setup.r <= MAX_RANK:
        raise InputError(f"{setup.r} is not a rank", "r", f"Use a whole number from 1 to {MAX_RANK:,}.")
    resolution = resolve(model, setup.targets, setup.modules_to_save)
    rows = [_adapter_row(target, setup) for target in resolution.targets]
    rows += _copies(model, setup.modules_to_save)
    trainable = sum(row.trainable for row in rows)
    copies = sum(row.trainable for row in rows if row.how == "full copy")
    total = model.parameters + trainable
    size = ADAPTER_BYTES * (trainable - copies) + COPY_BYTES * copies
    return LoraCount(trainable, total, 100 * trainable / total, size, tuple(rows), resolution)


def lora_record(
    model: str,
    r: float = 16,
    alpha: float = 32,
    targets: str = "all-linear",
    dora: bool = False,
    modules_to_save: Sequence[str] | str = (),
) -> dict[str, Any]:
    """The `/lora` endpoint: `{trainable, total, percent, adapter_bytes, modules}` as JSON.

    A module is `{name, count, shape, trainable}`. Raises InputError."""
    if isinstance(modules_to_save, str):
        modules_to_save = [name.strip() for name in modules_to_save.split(",") if name.strip()]
    # JSON has one kind of number: 16.0 is a whole one.
    rank: Any = int(r) if isinstance(r, float) and r.is_integer() else r
    setup = LoraSetup(rank, alpha, targets, bool(dora), tuple(modules_to_save or ()))
    counted = count(architecture(model), setup)
    modules = [
        {"name": row.name, "count": row.count, "shape": list(row.shape), "trainable": row.trainable}
        for row in counted.modules
    ]
    record = asdict(counted)
    return {key: record[key] for key in ("trainable", "total", "percent", "adapter_bytes")} | {"modules": modules}


def peft_line(counted: LoraCount) -> str:
    """The line of PEFT's `print_trainable_parameters()`."""
    return (
        f"trainable params: {counted.trainable:,d} || all params: {counted.total:,d} || "
        f"trainable%: {100 * counted.trainable / counted.total:.4f}"
    )


def _adapter_row(target: Target, setup: LoraSetup) -> ModuleRow:
    weight, rank = target.weight, setup.r * target.rank_factor
    inputs, outputs = weight.features
    each = rank * weight.experts * (inputs + outputs)
    if setup.dora:
        if weight.kind == "parameter":
            raise InputError(
                f"DoRA does not work on {weight.name.rpartition('.')[2]}, a stack of parameters",
                "dora",
                "Switch DoRA off, or leave experts and router out of targets.",
            )
        each += outputs if weight.kind != "embedding" else inputs
    name = weight.name if weight.kind == "parameter" else weight.module
    return ModuleRow(name, weight.count, _shown(weight), rank, each * weight.count, "dora" if setup.dora else "lora")


def _shown(weight: Weight) -> tuple[int, ...]:
    """The shape as a linear map, out × in, whichever way it is stored."""
    inputs, outputs = weight.features
    return (weight.experts, outputs, inputs) if len(weight.shape) == 3 else (outputs, inputs)


def _copies(model: Architecture, modules_to_save: Sequence[str]) -> list[ModuleRow]:
    """Full copies: every module whose name ends so, with all parameters below it
    (peft.utils.other._set_trainable).
    """
    rows: dict[str, ModuleRow] = {}
    for wanted in modules_to_save:
        found = False
        for weight in model.weights:
            path = weight.module.split(".")
            prefixes = (".".join(path[: end + 1]) for end in range(len(path)))
            if any(prefix.endswith(wanted) for prefix in prefixes):
                found = True
                if weight.name not in rows:
                    amount = weight.size * weight.count
                    rows[weight.name] = ModuleRow(weight.name, weight.count, weight.shape, 0, amount, "full copy")
        if not found or not wanted.strip():
            raise unknown(wanted, {w.module.rpartition(".")[2] for w in model.weights}, "modules_to_save")
    return list(rows.values())
