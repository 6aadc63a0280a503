"""A model folder really loaded, quantized and not, and its bytes counted: the check on what the estimate says."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.architecture import architecture
from pipelines.building import BUILDING
from pipelines.errors import InputError
from pipelines.memory.quantization import model_bytes

MAX_PARAMETERS = 500_000_000  # of a model that is loaded four times over while somebody waits
WAYS = (
    ("bf16", "none", False),
    ("int8", "int8", False),
    ("NF4", "nf4", False),
    ("NF4, double quantization", "nf4", True),
)


@dataclass(frozen=True, slots=True)
class LoadedBytes:
    """Bytes of a model's tensors: `estimated` from its configuration alone, `measured` on the loaded tensors."""

    title: str
    estimated: int
    measured: int


def measure_loaded(folder: Path) -> Iterator[LoadedBytes]:
    """Load the model of `folder` in each of WAYS on the CPU, one after the other, and count.

    Raises InputError for a model that is too large to be loaded while somebody waits.
    """
    model = architecture((folder / "config.json").read_text(encoding="utf-8"))
    if model.parameters > MAX_PARAMETERS:
        raise InputError(
            f"the base has {model.parameters:,} parameters", "pair", f"This is for models up to {MAX_PARAMETERS:,}."
        )
    for title, quant, double_quant in WAYS:
        counted = model_bytes(model, quant, double_quant, dtype_bytes=2)
        measured = _bytes_of(_load(folder, quant, double_quant))
        yield LoadedBytes(title, counted.weights + counted.constants, measured)


def _load(folder: Path, quant: str, double_quant: bool) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    options: dict[str, Any] = {}
    if quant == "int8":
        options["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True)
    elif quant != "none":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type=quant, bnb_4bit_use_double_quant=double_quant
        )
    if options:
        options["device_map"] = {"": "cpu"}
    with BUILDING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, **options)


def _bytes_of(model: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in [*model.parameters(), *constants_of(model)])


def constants_of(model: Any) -> Iterator[Any]:
    """The tensors that bitsandbytes keeps beside 4-bit and 8-bit weights, to read them back."""
    for module in model.modules():
        weight = getattr(module, "weight", None)
        state = getattr(weight, "quant_state", None)
        if state is not None:
            yield from (state.absmax, state.code)
            if state.nested:
                yield from (state.state2.absmax, state.state2.code, state.offset)
        # The first pass moves the scales of 8-bit weights from the weight to its layer.
        for holder in (weight, getattr(module, "state", None)):
            scales = getattr(holder, "SCB", None)
            if scales is not None:
                yield scales
