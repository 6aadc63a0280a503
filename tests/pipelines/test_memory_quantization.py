"""Bytes of quantized weights, to the byte, against the tensors that bitsandbytes really makes on this CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.architecture import Weight, architecture
from pipelines.errors import InputError
from pipelines.memory.loaded import measure_loaded
from pipelines.memory.quantization import (
    fp4_levels,
    is_quantized,
    model_bytes,
    nf4_levels,
    quantized_bytes,
)
from pipelines.stages import ASSETS

SHAPES = [(256, 256), (704, 256), (33, 250), (1, 1), (65, 63), (4096, 16)]


def linear(rows: int, columns: int) -> Weight:
    return Weight("layer.weight", "linear", (rows, columns), 1)


def bytes_of(*tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.mark.parametrize("rows, columns", SHAPES)
@pytest.mark.parametrize("double_quant", [False, True])
@pytest.mark.parametrize("quant", ["nf4", "fp4"])
def test_four_bit_bytes_are_those_of_the_real_tensors(rows: int, columns: int, double_quant: bool, quant: str) -> None:
    from bitsandbytes.nn import Linear4bit

    layer = Linear4bit(columns, rows, bias=False, compress_statistics=double_quant, quant_type=quant).to("cpu")
    state = layer.weight.quant_state
    constants = [state.absmax, state.code]
    if double_quant:
        constants += [state.state2.absmax, state.state2.code, state.offset]
    counted = quantized_bytes(linear(rows, columns), quant, double_quant)
    assert counted.weights == bytes_of(layer.weight)
    assert counted.constants == bytes_of(*constants)


@pytest.mark.parametrize("rows, columns", [(256, 256), (704, 256), (256, 704)])
@pytest.mark.parametrize("double_quant", [False, True])
def test_repacked_bytes_are_those_of_the_real_tensors(rows: int, columns: int, double_quant: bool) -> None:
    """By bitsandbytes' own repacking, which it does by itself on a CPU with AVX512-BF16."""
    from bitsandbytes.functional import _convert_weight_packed_for_cpu
    from bitsandbytes.nn import Linear4bit

    layer = Linear4bit(columns, rows, bias=False, compress_statistics=double_quant, quant_type="nf4").to("cpu")
    packed, state = _convert_weight_packed_for_cpu(layer.weight.data, layer.weight.quant_state)
    counted = quantized_bytes(linear(rows, columns), "nf4", double_quant, repacked=True)
    assert counted.weights == bytes_of(packed)
    assert counted.constants == bytes_of(state.absmax, state.code, *([state.offset] if double_quant else []))


@pytest.mark.parametrize("rows, columns", SHAPES)
def test_eight_bit_bytes_are_those_of_the_real_tensors(rows: int, columns: int) -> None:
    from bitsandbytes.nn import Linear8bitLt

    layer = Linear8bitLt(columns, rows, bias=False, has_fp16_weights=False).to("cpu")
    counted = quantized_bytes(linear(rows, columns), "int8", double_quant=False)
    assert counted.weights == bytes_of(layer.weight)
    assert counted.constants == bytes_of(layer.weight.SCB)


@pytest.mark.parametrize("double_quant", [False, True])
def test_the_whole_quantized_pair_takes_the_bytes_that_are_stated(double_quant: bool) -> None:
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    how = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double_quant,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    model = AutoModelForCausalLM.from_pretrained(
        ASSETS / "models" / "pocket-base", quantization_config=how, dtype=torch.bfloat16
    )
    weights, constants = bytes_of(*model.parameters()), 0
    for module in model.modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is not None:
            constants += bytes_of(state.absmax, state.code)
            if state.nested:
                constants += bytes_of(state.state2.absmax, state.state2.code, state.offset)
    counted = model_bytes(architecture("pocket"), "nf4", double_quant, dtype_bytes=2)
    assert (counted.weights, counted.constants) == (weights, constants)


def test_the_loaded_pair_takes_what_its_configuration_says_in_every_way() -> None:
    rows = list(measure_loaded(ASSETS / "models" / "pocket-base"))
    assert [row.title for row in rows] == ["bf16", "int8", "NF4", "NF4, double quantization"]
    assert [row.measured for row in rows] == [row.estimated for row in rows]
    assert [row.measured for row in rows] == sorted((row.measured for row in rows), reverse=True)


def test_a_model_too_large_to_wait_for_is_refused(tmp_path: Path) -> None:
    known = json.loads((ASSETS / "architectures" / "llama-3.1-8b.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(known["config"]), encoding="utf-8")
    with pytest.raises(InputError, match="8,030,261,248"):
        next(measure_loaded(tmp_path))


def test_unquantized_bytes_are_those_of_the_real_tensors() -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(ASSETS / "models" / "pocket-base", dtype="bfloat16")
    assert model_bytes(architecture("pocket"), "none", False, 2).weights == bytes_of(*model.parameters())


def test_embeddings_head_norms_and_stacked_experts_are_not_quantized() -> None:
    def quantized(key: str) -> set[str]:
        model = architecture(key)
        return {weight.name.rpartition("{}.")[2] for weight in model.weights if is_quantized(weight, model)}

    attention = {f"self_attn.{name}_proj.weight" for name in "qkvo"}
    assert quantized("llama-3.1-8b") == attention | {f"mlp.{name}_proj.weight" for name in ("gate", "up", "down")}
    assert quantized("mixtral-8x7b") == attention


def test_the_levels_are_those_of_bitsandbytes() -> None:
    from bitsandbytes.functional import get_4bit_type

    assert nf4_levels() == pytest.approx(get_4bit_type("nf4", device="cpu").tolist(), abs=1e-6)
    assert fp4_levels() == pytest.approx(sorted(set(get_4bit_type("fp4", device="cpu").tolist())), abs=1e-6)
