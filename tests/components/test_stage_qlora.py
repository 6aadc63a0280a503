"""The QLoRA tab's handlers and drawings, without a browser."""

from __future__ import annotations

import ast
import re
import time
from typing import Any

import pytest
import yaml

from components.stage_qlora import compare, launch, layers_of, looker, script, setup_of, view
from components.widgets.memory import gib
from pipelines.errors import InputError
from pipelines.memory import estimate
from pipelines.stages import ASSETS

NAMES = (
    "model",
    "pasted",
    "method",
    "seq_len",
    "batch",
    "r",
    "targets",
    "quant",
    "double",
    "checkpointing",
    "optimizer",
    "dtype",
    "master",
    "attention",
    "loss",
    "gpus",
    "sharding",
)
DEFAULTS: tuple[Any, ...] = (
    "llama-3.1-8b",
    "",
    "qlora",
    2048,
    1,
    16,
    "all-linear",
    "nf4",
    True,
    True,
    "adamw",
    "bf16",
    "auto",
    "sdpa",
    "full",
    1,
    "none",
)
PAIR = ASSETS / "models" / "pocket-base"


def changed(**values: Any) -> list[Any]:
    return [values.get(name, default) for name, default in zip(NAMES, DEFAULTS, strict=True)]


def test_three_methods_stand_beside_each_other_with_every_term() -> None:
    bars = view(*changed(), 10)[1]
    assert [name for name in ("Full", "LoRA", "QLoRA") if f">{name}<" in bars] == ["Full", "LoRA", "QLoRA"]
    for term in ("Weights", "Quantization constants", "Optimizer states", "Activations", "Logits", "Overhead"):
        assert f'data-note="{term}: ' in bars


def test_the_table_has_every_term_with_its_formula() -> None:
    terms = view(*changed(), 10)[2]
    result = estimate(setup_of(*changed()))
    for term in result.terms:
        assert f"<th>{term.title}</th>" in terms
        assert gib(term.size) in terms
    assert "3 × 4 bytes × 2,048 tokens × 128,256 words" in terms


def test_gpus_say_whether_they_hold_the_run_and_what_it_costs() -> None:
    table = view(*changed(model="llama-3.1-70b"), 10)[3]
    assert re.search(r"<th>H100 80 GB SXM</th>.*?✓ fits.*?\$2\.69.*?\$\d+\.\d\d", table)
    assert re.search(r"<th>RTX 4090</th>.*?4 with FSDP", table)
    assert "time for 10M tokens" in table


def test_several_gpus_without_sharding_each_hold_a_copy() -> None:
    assert setup_of(*changed(gpus=4)).sharding == "ddp"
    assert setup_of(*changed(gpus=4, sharding="zero2")).sharding == "zero2"


def test_the_scatter_has_a_dot_for_each_published_run_and_says_the_error() -> None:
    scatter, claims = compare()
    assert scatter.count('class="dot role-') == 40
    assert "median error over 30 published figures" in scatter
    for figure in ("840 GB", "145 GB", "40 GB", "35 GB", "75 %", "$10–50", "12+ GPUs", "39.5 GB", "42.7 GB"):
        assert figure in claims


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"method": "full", "optimizer": "paged_adamw_8bit"},
        {"method": "lora", "targets": "q,v"},
        {"quant": "int8"},
        {"model": "phi-3-mini", "targets": "q,v", "dtype": "fp16"},
    ],
    ids=str,
)
def test_the_script_is_python_and_names_the_settings(values: dict[str, Any]) -> None:
    text = script(*changed(**values))
    ast.parse(text)
    assert ("BitsAndBytesConfig(" in text) is (values.get("method", "qlora") == "qlora")
    assert ("LoraConfig(" in text) is (values.get("method") != "full")


@pytest.mark.parametrize(
    "sharding, kind", [("none", "MULTI_GPU"), ("fsdp", "FSDP"), ("zero3", "DEEPSPEED"), ("zero1", "DEEPSPEED")]
)
def test_the_launch_file_is_yaml_for_the_chosen_sharding(sharding: str, kind: str) -> None:
    config = yaml.safe_load(launch(*changed(gpus=4, sharding=sharding)))
    assert (config["distributed_type"], config["num_processes"]) == (kind, 4)


def test_a_layer_of_the_pair_is_drawn_under_the_levels() -> None:
    name = next(iter(layers_of(PAIR)))
    markup = looker(PAIR)(name)
    assert len(re.findall("<line ", markup)) == 16
    errors = {kind: float(error) for kind, error in re.findall(r"<th>(\w+)</th><td class=\"num\">([\d.]+) %", markup)}
    assert errors["NF4"] < errors["INT4"] < errors["FP4"]
    assert "0.37" in markup


@pytest.mark.parametrize(
    "values, tokens, message",
    [
        ({"model": "lama"}, 10, r"model: 'lama' is not known"),
        ({"batch": 64, "seq_len": 32_768 * 64}, 10, r"batch × seq_len is [\d,]+ tokens"),
        ({}, 0, r"Training tokens: 0 million tokens\. Use a number above 0"),
        ({"targets": "q_porj"}, 10, r"targets: 'q_porj' is not known\. Did you mean 'q_proj'"),
    ],
)
def test_a_wrong_value_says_what_to_do(values: dict[str, Any], tokens: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        view(*changed(**values), tokens)


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(InputError, match=r"Layer: '\.\./secret' is no layer of the pair"):
        looker(PAIR)("../secret")


def test_a_redraw_takes_less_than_forty_milliseconds() -> None:
    view(*changed(), 10)
    start = time.process_time()
    for batch in range(1, 21):
        view(*changed(batch=batch), 10)
    assert (time.process_time() - start) / 20 < 0.04
