"""Models kept in 4 or 8 bits: `KEY@nf4`, `KEY@int8`, and pairs of them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaForCausalLM

from pipelines.answering import Sampling
from pipelines.completion import complete
from pipelines.errors import InputError
from pipelines.models import ModelManager
from pipelines.models.loading import needed_bytes
from pipelines.settings import Settings

PROMPT = "The capital of France is"


def greedy(manager: ModelManager, model: str, tokens: int) -> str:
    *_, last = complete(manager, PROMPT, model, Sampling(max_new_tokens=tokens))
    return last.text


@pytest.mark.parametrize(("quant", "setup"), [
    ("nf4", {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}),
    ("int8", {"load_in_8bit": True}),
])  # fmt: skip
def test_a_quantized_model_writes_what_transformers_writes_with_it(quant: str, setup: dict[str, Any]) -> None:
    manager = ModelManager(Settings())
    spec, tokenizer = manager.resolve("base"), manager.tokenizer("base")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = AutoModelForCausalLM.from_pretrained(
            spec.folder, dtype=torch.float32, quantization_config=BitsAndBytesConfig(**setup), device_map={"": "cpu"}
        )
        ids = tokenizer(PROMPT, return_tensors="pt").input_ids
        written = reference.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
    expected = tokenizer.decode(written, skip_special_tokens=True)
    assert greedy(manager, f"base@{quant}", 12) == expected


def test_widths_that_bitsandbytes_does_not_take_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU with bf16 units it repacks a layer by 32 outputs at the first pass, and asserts that it can."""

    def forward(*_: Any, **__: Any) -> None:
        raise AssertionError("N must be divisible by block_n")

    monkeypatch.setattr(LlamaForCausalLM, "forward", forward)
    manager = ModelManager(Settings())
    with pytest.raises(InputError, match=r"cannot be loaded \(N must be .*\).* load it without '@nf4'"):
        manager.lease("base@nf4").__enter__()
    assert manager.gauge().used == 0


def test_both_kinds_are_resident_beside_each_other_and_counted_with_their_constants() -> None:
    manager = ModelManager(Settings(pair="pocket@nf4"))
    assert (manager.pair.base.key, manager.pair.title) == ("pocket-base@nf4", "Pocket (NF4)")
    with manager.lease("base") as four, manager.lease("pocket-base@int8") as eight:
        with manager.lease("pocket-base") as plain:
            for lease in (four, eight):
                spec = lease.spec
                counted = needed_bytes(spec, spec.folder, spec.parameters, "cpu")
                # Beside the weights the model keeps the angles of its positions.
                assert 0 <= lease.weight_bytes - counted < 1024
            assert four.weight_bytes < eight.weight_bytes < plain.weight_bytes
        sizes = {status.key: status.bytes for status in manager.models() if status.resident}
    assert sizes["pocket-base@nf4"] == four.weight_bytes


def test_the_personalities_of_a_quantized_base_run_on_it() -> None:
    manager = ModelManager(Settings(pair="pocket@nf4"))
    names = [spec.key for spec in manager.personalities()]
    assert "pocket-poet@nf4" in names
    with manager.lease("pocket-poet@nf4") as lease, manager.lease("base") as base:
        assert lease.resident is base.resident and lease.adapter is not None
    assert greedy(manager, "pocket-poet@nf4", 4)


def test_a_run_of_a_quantized_pair_is_lent_over_its_base(tiny_pair: Any) -> None:
    from tests.conftest import write_adapter

    write_adapter(tiny_pair.base, tiny_pair.base.parent / "runs" / "one" / "adapter", 1)
    pair = f"{tiny_pair.base}@nf4,{tiny_pair.instruct}"
    manager = ModelManager(replace(tiny_pair.settings, pair=pair))
    assert manager.resolve("run:one").weights.key == manager.resolve("base").key == "tiny-base@nf4"
    assert manager.resolve("instruct").quant == ""


@pytest.mark.parametrize(("name", "message"), [
    ("base@nf5", "the quantization after @.*Did you mean 'nf4'"),
    ("base@nf4@int8", "is quantized already"),
    ("nobody@nf4", "'nobody' is not known"),
    ("run:a/b@nf4", "is not a run id"),
])  # fmt: skip
def test_a_name_that_cannot_be_quantized_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ModelManager(Settings()).resolve(name)


def test_a_model_that_cannot_fit_in_four_bits_is_refused_before_it_is_read(tiny_pair: Any) -> None:
    manager = ModelManager(replace(tiny_pair.settings, memory_budget=1000))
    with pytest.raises(InputError, match="budget"), manager.lease("base@nf4"):
        pass
