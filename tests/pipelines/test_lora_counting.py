"""LoRA counts against PEFT itself, which builds the adapter on the meta device and counts what it built."""

from __future__ import annotations

import dataclasses
import json
import time
import warnings
from typing import Any

import pytest

from pipelines.architecture import Architecture, architecture, entries
from pipelines.architecture.catalogue import FACTS, facts_of
from pipelines.errors import InputError
from pipelines.lora import PRESETS, LoraSetup, Resolution, count, lora_record, peft_line, resolve
from pipelines.lora.targets import MOE_NAMES

KEYS = [entry.key for entry in entries()]
RANKS = (16, 1, 64)
# One model of each way to be built: plain, tied, biased, fused, Conv1D, normalised heads, stacked experts.
FAMILIES = (
    "pocket",
    "llama-3.2-1b",
    "qwen2.5-0.5b",
    "qwen3-0.6b",
    "gemma-2-2b",
    "gemma-3-1b",
    "phi-3-mini",
    "gpt2",
    "olmo-2-1b",
    "mixtral-8x7b",
    "qwen3-30b-a3b",
    "gpt-oss-20b",
)
STACKED = {"mixtral-8x7b", "qwen3-30b-a3b", "gpt-oss-20b", "gpt-oss-120b"}


def shallow(model: Architecture, depth: int) -> Architecture:
    """The same architecture with fewer layers, all of which are alike."""
    weights = tuple(
        dataclasses.replace(weight, count=depth) if "{}" in weight.name else weight for weight in model.weights
    )
    assert {weight.count for weight in model.weights if "{}" in weight.name} == {model.dimensions.layers}
    return dataclasses.replace(model, weights=weights)


def peft_counts(
    key: str,
    resolution: Resolution,
    r: int,
    *,
    depth: int | None = None,
    dora: bool = False,
    save: tuple[str, ...] = (),
) -> tuple[int, int]:
    """PEFT's (trainable, all) for the catalogue model `key`, at full depth unless `depth` is given."""
    import torch
    from peft import LoraConfig, get_peft_model

    from pipelines.architecture.extract import build_on_meta

    config = dict(facts_of(key)["config"])
    if depth is not None:
        config["n_layer" if config["model_type"] == "gpt2" else "num_hidden_layers"] = depth
    names: Any = list(resolution.names)
    adapter = LoraConfig(
        task_type="CAUSAL_LM",
        r=r,
        target_modules="all-linear" if names == ["all-linear"] else names,
        target_parameters=list(resolution.parameters) or None,
        use_dora=dora,
        modules_to_save=list(save) or None,
    )
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        trainable, everything = get_peft_model(build_on_meta(config), adapter).get_nb_trainable_parameters()
    return trainable, everything


def ours(model: Architecture, setup: LoraSetup) -> tuple[int, int]:
    counted = count(model, setup)
    return counted.trainable, counted.total


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("key", FAMILIES)
def test_each_way_to_build_a_model_counts_as_peft_counts_it(key: str, preset: str) -> None:
    model = shallow(architecture(key), 2)
    setup = LoraSetup(r=8, targets=preset)
    assert ours(model, setup) == peft_counts(key, resolve(model, preset), 8, depth=2)


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_every_catalogue_model_counts_as_peft_counts_it_for_every_preset(key: str) -> None:
    model = shallow(architecture(key), 2)
    for preset in PRESETS:
        resolution = resolve(model, preset)
        for r in RANKS if key in FAMILIES else RANKS[:1]:
            assert ours(model, LoraSetup(r=r, targets=preset)) == peft_counts(key, resolution, r, depth=2), (
                preset,
                r,
            )


@pytest.mark.slow
@pytest.mark.parametrize("key", FAMILIES)
def test_every_way_to_build_a_model_counts_as_peft_counts_it_at_full_depth(key: str) -> None:
    model = architecture(key)
    for preset in ("q,v", "all-linear"):
        assert ours(model, LoraSetup(targets=preset)) == peft_counts(key, resolve(model, preset), 16), preset


@pytest.mark.slow
@pytest.mark.parametrize("key", [key for key in FAMILIES if key not in STACKED])
def test_dora_counts_as_peft_counts_it(key: str) -> None:
    model = shallow(architecture(key), 2)
    for preset in PRESETS:
        setup = LoraSetup(r=16, targets=preset, dora=True)
        assert ours(model, setup) == peft_counts(key, resolve(model, preset), 16, depth=2, dora=True), preset


@pytest.mark.parametrize("key", ["pocket", "gpt2", "phi-3-mini", "mixtral-8x7b"])
def test_dora_on_attention_counts_as_peft_counts_it(key: str) -> None:
    model = shallow(architecture(key), 2)
    setup = LoraSetup(r=16, targets="q,k,v,o", dora=True)
    assert ours(model, setup) == peft_counts(key, resolve(model, "q,k,v,o"), 16, depth=2, dora=True)


@pytest.mark.parametrize("key", sorted(STACKED))
def test_dora_on_stacked_experts_is_refused_as_peft_refuses_it(key: str) -> None:
    with pytest.raises(InputError, match=r"dora: DoRA does not work on .*Switch DoRA off"):
        count(architecture(key), LoraSetup(targets="mlp", dora=True))


@pytest.mark.parametrize(
    "save",
    [("lm_head",), ("embed_tokens",), ("embed_tokens", "lm_head"), ("norm",), ("q_proj",), ("mlp",)],
    ids="+".join,
)
@pytest.mark.parametrize("key", ["pocket", "qwen2.5-7b", "qwen3-0.6b", "gemma-2-2b"])
def test_modules_to_save_count_as_peft_counts_them(key: str, save: tuple[str, ...]) -> None:
    model = shallow(architecture(key), 2)
    setup = LoraSetup(r=8, targets="q,v", modules_to_save=save)
    assert ours(model, setup) == peft_counts(key, resolve(model, "q,v", save), 8, depth=2, save=save)


@pytest.mark.parametrize(
    "targets",
    [
        "q_proj",
        "self_attn.q_proj,v_proj",
        "lm_head,q_proj",
        "embed_tokens",
        "embed_tokens,lm_head",
        "down_proj",
    ],
)
@pytest.mark.parametrize("dora", [False, True])
def test_names_and_suffixes_count_as_peft_counts_them(targets: str, dora: bool) -> None:
    for key in ("pocket", "qwen2.5-7b"):
        model = shallow(architecture(key), 2)
        setup = LoraSetup(r=8, targets=targets, dora=dora)
        assert ours(model, setup) == peft_counts(key, resolve(model, targets), 8, depth=2, dora=dora)


@pytest.mark.parametrize("targets", ["w1,w3", "w2", "w1,w2,w3", "gate", "q_proj,w2", "gate,q_proj"])
def test_mixtrals_old_names_mean_the_stacked_parameters(targets: str) -> None:
    model = shallow(architecture("mixtral-8x7b"), 2)
    setup = LoraSetup(r=8, targets=targets)
    assert ours(model, setup) == peft_counts("mixtral-8x7b", resolve(model, targets), 8, depth=2)


def test_half_of_a_fused_pair_is_refused_as_peft_refuses_it() -> None:
    with pytest.raises(InputError, match=r"gate_proj and up_proj are one fused parameter.*Name up_proj as well"):
        resolve(architecture("qwen3-30b-a3b"), "gate_proj")


def test_the_names_of_experts_are_those_of_the_installed_peft() -> None:
    from peft.utils.transformers_weight_conversion import _MOE_TARGET_MODULE_MAPPING

    assert MOE_NAMES == _MOE_TARGET_MODULE_MAPPING


@pytest.mark.parametrize(
    "targets, trainable", [("q,v", 6_815_744), ("q,k,v,o", 13_631_488), ("all-linear", 41_943_040)]
)
def test_llama_3_8b_at_rank_16_is_not_twenty_million(targets: str, trainable: int) -> None:
    assert count(architecture("llama-3-8b"), LoraSetup(targets=targets)).trainable == trainable


def test_the_printed_line_is_pefts(capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    from pipelines.architecture.extract import build_on_meta

    with torch.device("meta"):
        adapter = LoraConfig(task_type="CAUSAL_LM", r=16, target_modules="all-linear")
        get_peft_model(build_on_meta(facts_of("pocket")["config"]), adapter).print_trainable_parameters()
    assert peft_line(count(architecture("pocket"), LoraSetup())) + "\n" == capsys.readouterr().out


def test_an_adapter_takes_on_disk_what_is_stated(tmp_path: Any) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors import safe_open
    from transformers import AutoConfig, AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**facts_of("pocket")["config"]), dtype=torch.bfloat16)
    adapter = LoraConfig(task_type="CAUSAL_LM", r=8, target_modules="all-linear", modules_to_save=["norm"])
    get_peft_model(model, adapter).save_pretrained(tmp_path)
    with safe_open(tmp_path / "adapter_model.safetensors", "pt") as file:
        names = file.keys()
        tensors = [file.get_tensor(name) for name in names]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert lora_record("pocket", r=8, modules_to_save=["norm"])["adapter_bytes"] == size


def test_the_record_has_the_contracts_shape() -> None:
    record = lora_record("llama-3.1-8b", r=16, alpha=32, targets="q,v")
    assert record["trainable"] == 6_815_744
    assert record["total"] == 8_030_261_248 + 6_815_744
    assert record["percent"] == pytest.approx(100 * record["trainable"] / record["total"])
    assert record["modules"] == [
        {
            "name": "model.layers.{}.self_attn.q_proj",
            "count": 32,
            "shape": [4096, 4096],
            "trainable": 4_194_304,
        },
        {
            "name": "model.layers.{}.self_attn.v_proj",
            "count": 32,
            "shape": [1024, 4096],
            "trainable": 2_621_440,
        },
    ]
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize(
    "call, message",
    [
        ({"model": "lama-3.1-8b"}, r"model: 'lama-3.1-8b' is not known\. Did you mean 'llama-3.1-8b'\?"),
        ({"model": "pocket", "r": 0}, r"r: 0 is not a rank\. Use a whole number from 1"),
        ({"model": "pocket", "r": 2.5}, r"r: 2\.5 is not a rank"),
        ({"model": "pocket", "r": float("inf")}, r"r: inf is not a rank"),
        ({"model": "pocket", "r": "eight"}, r"r: eight is not a rank"),
        (
            {"model": "pocket", "targets": "q_porj"},
            r"targets: 'q_porj' is not known\. Did you mean 'q_proj'\?",
        ),
        ({"model": "pocket", "targets": " , "}, r"targets: no module is named\. Use one of q,v; "),
        (
            {"model": "pocket", "modules_to_save": ["lmhead"]},
            r"modules_to_save: 'lmhead' is not known.*'lm_head'",
        ),
        (
            {"model": "pocket", "targets": "q_proj", "modules_to_save": ["q_proj"]},
            r"already in modules_to_save",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_to_do(call: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        lora_record(**call)


def test_a_count_takes_less_than_ten_milliseconds() -> None:
    lora_record("llama-3.1-405b")
    start = time.process_time()
    for r in range(1, 21):
        lora_record("llama-3.1-405b", r=r)
    assert (time.process_time() - start) / 20 < 0.01


def test_the_pockets_facts_are_those_of_the_shipped_model() -> None:
    shipped = json.loads((FACTS.parent / "models" / "pocket-base" / "config.json").read_text(encoding="utf-8"))
    for key, value in facts_of("pocket")["config"].items():
        if key not in ("rope_theta", "rms_norm_eps"):
            assert shipped[key] == value, key
