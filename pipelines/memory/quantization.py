"""Bytes of quantized weights as bitsandbytes 0.50 lays them out, and the level tables of its 4-bit types.

A linear layer of n weights in 4 bits is packed two to a byte and cut into blocks of 64; each block keeps its
largest magnitude ("absmax") in fp32. Double quantization (QLoRA, Dettmers et al. 2023,
https://arxiv.org/abs/2305.14314, section 3) stores those in 8 bits, in blocks of 256 with an fp32 absmax of
their own. Tables of levels come on top, once per layer. LLM.int8() (https://arxiv.org/abs/2208.07339) keeps
one byte per weight and one fp32 per output row. On a CPU with AVX512-BF16 the first pass repacks 4-bit layers for a
faster product, with one bf16 absmax for each block.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from statistics import NormalDist
from typing import Any

from pipelines.architecture import Architecture, Weight

BLOCK = 64  # bitsandbytes.functional.quantize_4bit, default blocksize
NESTED_BLOCK = 256  # of the second quantization
_CODE_BYTES = 16 * 4  # the sixteen levels, fp32, kept by each layer's quant_state
_OFFSET_BYTES = 4
_NESTED_CODE_BYTES = 256 * 4 + _OFFSET_BYTES  # the 256 levels of the second quantization and the offset


@dataclass(frozen=True, slots=True)
class QuantizedBytes:
    """What one weight, or a whole model, takes. `constants`: absmax values, tables, row scales."""

    weights: int
    constants: int


def quantization_arguments(dtype: str, quant: str = "nf4") -> dict[str, Any]:
    """Keyword arguments of `transformers.BitsAndBytesConfig`: `nf4` as QLoRA keeps a base (section 3), or `int8`.

    dtype: by name, of the model; the products over NF4 are computed in it, too. A CPU without units for bf16 takes
    fourteen times as long in it for a training step of the pocket pair.
    """
    if quant == "int8":
        return {"load_in_8bit": True}
    return {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": dtype,
    }


def is_quantized(weight: Weight, architecture: Architecture) -> bool:
    """Whether transformers hands this weight to bitsandbytes.

    Linear layers (GPT-2's Conv1D too), but not the output head, embeddings or norms; stacked experts are
    plain parameters since transformers 5 and stay as they are (transformers.integrations.bitsandbytes).
    """
    return weight.kind in ("linear", "conv1d") and weight.module != architecture.head


def quantized_bytes(weight: Weight, quant: str, double_quant: bool, repacked: bool = False) -> QuantizedBytes:
    """Bytes of one tensor in `nf4`, `fp4` or `int8`, to the byte; `repacked` as some CPUs compute with it."""
    if quant == "int8":
        return QuantizedBytes(weight.size, 4 * weight.features[1])
    blocks = ceil(weight.size / BLOCK)
    packed = ceil(weight.size / 2)
    if repacked:
        return QuantizedBytes(packed, 2 * blocks + _CODE_BYTES + (_OFFSET_BYTES if double_quant else 0))
    if not double_quant:
        return QuantizedBytes(packed, 4 * blocks + _CODE_BYTES)
    nested = blocks + 4 * ceil(blocks / NESTED_BLOCK) + _NESTED_CODE_BYTES
    return QuantizedBytes(packed, nested + _CODE_BYTES)


def model_bytes(
    architecture: Architecture, quant: str, double_quant: bool, dtype_bytes: int, repacked: bool = False
) -> QuantizedBytes:
    """Weights and constants of the whole model with its linear layers in `quant` ("none" leaves all as they
    are).
    """
    weights = constants = 0
    for weight in architecture.weights:
        if quant != "none" and is_quantized(weight, architecture):
            one = quantized_bytes(weight, quant, double_quant, repacked)
            weights += one.weights * weight.count
            constants += one.constants * weight.count
        else:
            weights += weight.total * dtype_bytes
    return QuantizedBytes(weights, constants)


def largest_quantized(architecture: Architecture) -> int:
    """Weights of the largest quantized tensor: it is dequantized as a whole for its product."""
    return max((w.size for w in architecture.weights if is_quantized(w, architecture)), default=0)


def nf4_levels() -> tuple[float, ...]:
    """The sixteen NF4 levels, ascending from −1 to 1: quantiles of the standard normal (QLoRA, section 3).

    Eight positive and seven negative quantiles at even steps of probability around an exact zero, scaled to
    ±1. The outermost probability is bitsandbytes' `create_normal_map` offset: midway between 1 − 1/32 and 1
    − 1/30.
    """
    offset = ((1 - 1 / (2 * 15)) + (1 - 1 / (2 * 16))) / 2
    normal = NormalDist()
    positive = [normal.inv_cdf(offset + (0.5 - offset) * step / 8) for step in range(8)]
    negative = [-normal.inv_cdf(offset + (0.5 - offset) * step / 7) for step in range(7)]
    levels = sorted([*positive, 0.0, *negative])
    top = max(levels)
    return tuple(level / top for level in levels)


def fp4_levels() -> tuple[float, ...]:
    """bitsandbytes' FP4 levels, ascending: sign, two exponent bits, one mantissa bit, with a small
    subnormal.
    """
    positive = (0.0, 0.0625 / 12, 2 / 12, 3 / 12, 4 / 12, 6 / 12, 8 / 12, 1.0)
    return tuple(sorted({-level for level in positive} | set(positive)))


def int4_levels() -> tuple[float, ...]:
    """Sixteen even steps from −8/7 … 1, of which symmetric quantization uses −1 … 1."""
    return tuple(step / 7 for step in range(-7, 8))
