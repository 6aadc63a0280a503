"""Adapters that were made outside the studio: offered where they fit, refused with the reason where they do not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from pipelines.completion import Sampling, chat, complete
from pipelines.errors import InputError
from pipelines.messages import Message
from pipelines.models import ModelManager
from pipelines.models.fitting import misfit
from tests.conftest import write_adapter


@pytest.fixture
def shelf(tiny_pair):
    """The directory that `--models-dir` names."""
    directory = tiny_pair.base.parent / "shelf"
    directory.mkdir()
    return directory


@pytest.fixture
def open_studio(tiny_pair, shelf):
    return lambda **options: ModelManager(replace(tiny_pair.settings, models_dir=shelf, **options))


def configure(folder, **changes):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return folder


def answer(manager, model, template=""):
    return list(chat(manager, (Message("user", "Hi"),), model, Sampling(8), template))[-1].text


def test_an_adapter_of_plain_peft_answers_as_peft_has_it(open_studio, tiny_pair, shelf):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = write_adapter(tiny_pair.base, shelf / "friend", 3)
    manager = open_studio()
    assert [spec.key for spec in manager.foreign()] == ["friend"] and manager.refused() == []
    row = next(row for row in manager.models() if row.key == "friend")
    assert (row.role, row.source) == ("adapter", "shelf/friend")
    with manager.lease("friend") as lease, lease.active() as model:
        seen = model(torch.tensor([[0, 20, 30]])).logits
    expected = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_pair.base), folder).eval()
    with torch.inference_mode():
        assert (seen - expected(torch.tensor([[0, 20, 30]])).logits).abs().max() < 2e-5


def test_the_path_of_another_machine_and_the_instruct_model_are_known_by_name(open_studio, tiny_pair, shelf):
    configure(write_adapter(tiny_pair.base, shelf / "one"), base_model_name_or_path="/home/ann/models/tiny-base/")
    configure(write_adapter(tiny_pair.instruct, shelf / "two"), base_model_name_or_path="somebody/Tiny-Instruct")
    assert {spec.key: spec.weights.key for spec in open_studio().foreign()} == {
        "one": "tiny-base",
        "two": "tiny-instruct",
    }


def test_one_for_another_model_says_which(open_studio, tiny_pair, shelf):
    configure(write_adapter(tiny_pair.base, shelf / "llama"), base_model_name_or_path="meta-llama/Llama-3.1-8B")
    configure(write_adapter(tiny_pair.base, shelf / "silent"), base_model_name_or_path=None)
    manager = open_studio()
    with pytest.raises(InputError) as refused:
        manager.resolve("llama")
    assert str(refused.value) == (
        "model: the adapter 'llama' was trained on 'Llama-3.1-8B', and this studio runs tiny-base and tiny-instruct. "
        "Start the studio with that model as --pair."
    )
    with pytest.raises(InputError, match="does not say which model"):
        manager.resolve("silent")
    assert manager.foreign() == []
    assert [why.split(":")[0] for why in manager.refused()] == ["llama", "silent"]


def test_one_of_another_shape_says_which_module_and_both_shapes(open_studio, tiny_pair, shelf):
    from safetensors.torch import load_file, save_file

    folder = write_adapter(tiny_pair.base, shelf / "wide", target_modules=["q_proj"])
    weights = load_file(folder / "adapter_model.safetensors")
    wide = {key: value.repeat(1, 2) if "lora_A" in key else value for key, value in weights.items()}
    save_file({key: value.contiguous() for key, value in wide.items()}, folder / "adapter_model.safetensors")
    with pytest.raises(
        InputError,
        match=r"the adapter 'wide' does not fit tiny-base: its model\.layers\.0\.self_attn\.q_proj is made for a "
        r"weight of 32 × 64, and that of tiny-base has 32 × 32",
    ):
        open_studio().resolve("wide")


def test_one_for_more_layers_is_refused_and_not_loaded_in_part(open_studio, tiny_pair, shelf):
    from safetensors.torch import load_file, save_file

    folder = write_adapter(tiny_pair.base, shelf / "deep", target_modules=["q_proj"])
    weights = load_file(folder / "adapter_model.safetensors")
    more = {key.replace("layers.1.", "layers.7."): value.clone() for key, value in weights.items()}
    save_file(weights | more, folder / "adapter_model.safetensors")
    with pytest.raises(
        InputError, match=r"it adapts model\.layers\.7\.self_attn\.q_proj, which tiny-base does not have"
    ):
        open_studio().resolve("deep")


def test_pickled_weights_are_never_read(open_studio, tiny_pair, shelf):
    folder = write_adapter(tiny_pair.base, shelf / "pickled")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(InputError, match=r"'pickled' has pickled weights only \(adapter_model\.bin\).*safetensors"):
        open_studio().resolve("pickled")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init_lora_weights": "pissa"}, "begins with pissa takes its start out of the base's weights"),
        ({"init_lora_weights": "olora"}, "begins with olora"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "layer_replication changes the base itself"),
        ({"megatron_config": {"x": 1}, "megatron_core": "os"}, "megatron_config changes the base"),
        ({"peft_type": "PREFIX_TUNING"}, "type PREFIX_TUNING cannot share a base"),
        ({"bias": "all"}, "trained biases"),
    ],
)
def test_what_would_change_the_base_is_refused_before_peft_sees_it(open_studio, tiny_pair, shelf, changes, message):
    import torch

    manager = open_studio()
    with manager.lease("base") as lease:
        before = {name: weight.clone() for name, weight in lease.model.named_parameters()}
    configure(write_adapter(tiny_pair.base, shelf / "odd"), **changes)
    manager.register_adapter("odd", shelf / "odd")
    with pytest.raises(InputError, match=message):
        open_studio().resolve("odd")
    with pytest.raises(InputError, match=message), manager.lease("run:odd"):
        pass
    with manager.lease("base") as lease:
        assert all(torch.equal(weight, before[name]) for name, weight in lease.model.named_parameters())


def test_it_brings_its_template_and_refuses_another_with_a_diff(open_studio, tiny_pair, shelf, tiny_tokenizer):
    from pipelines.templates import get_template

    folder = write_adapter(tiny_pair.base, shelf / "friend", 3)
    plain = answer(open_studio(), "friend")
    # Without a tokenizer of its own: a template is one file.
    (folder / "chat_template.jinja").write_text(get_template("chatml").jinja)
    manager = open_studio()
    assert answer(manager, "friend") == answer(manager, "friend", "chatml") != plain
    with pytest.raises(InputError, match=r"'zephyr' is not the template that friend was trained with.*\+<\|user\|>"):
        answer(manager, "friend", "zephyr")
    assert "im_start" not in str(manager.tokenizer("base").chat_template)


def test_a_tokenizer_with_tokens_that_the_base_does_not_know_is_refused(open_studio, tiny_pair, shelf, tiny_tokenizer):
    tokenizer = type(tiny_tokenizer).from_pretrained(tiny_pair.base)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(write_adapter(tiny_pair.base, shelf / "friend"))
    with pytest.raises(InputError, match="the tokenizer of 'friend' has 401 tokens, and tiny-base knows 400"):
        list(complete(open_studio(), "a", "friend", Sampling(2)))


def test_an_adapter_of_the_hub_needs_leave_and_comes_from_the_cache(open_studio, tiny_pair, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    stored = tmp_path / "hub" / "models--ann--friend"
    write_adapter(tiny_pair.base, stored / "snapshots" / "abc123", 3)
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text("abc123")
    with pytest.raises(InputError, match="--allow-any-model"):
        open_studio().resolve("ann/friend")
    manager = open_studio(allow_any_model=True)
    spec = manager.resolve("ann/friend")
    assert (spec.role, spec.title, spec.source, spec.weights.key) == ("adapter", "friend", "ann/friend", "tiny-base")
    assert list(complete(manager, "a", "ann/friend", Sampling(4)))[-1].new_tokens
    (stored / "snapshots" / "abc123" / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"'ann/friend' has no adapter_model\.safetensors"):
        manager.resolve("ann/friend")
    assert manager.resolve("ann/other").adapter is None


def test_a_model_beside_an_adapter_configuration_is_not_taken_for_a_model(open_studio, tiny_pair, shelf):
    folder = write_adapter(tiny_pair.base, shelf / "both")
    shutil.copy(tiny_pair.base / "config.json", folder)
    assert open_studio().resolve("both").role == "adapter"


def test_heads_embeddings_and_the_other_way_round_fit():
    base = {"h.0.attn.c_attn.weight": (8, 24), "model.embed_tokens.weight": (50, 8)}
    assert misfit(lora("transformer.h.0.attn.c_attn", 8, 24), base, "x") == ""
    assert misfit(lora("lm_head", 8, 50), base, "x") == ""
    embedding = {
        "base_model.model.model.embed_tokens.lora_embedding_A": (2, 50),
        "base_model.model.model.embed_tokens.lora_embedding_B": (8, 2),
    }
    assert misfit(embedding, base, "x") == ""
    assert misfit(lora("lm_head", 8, 51), base, "x") != ""
    assert "not complete" in misfit({"base_model.model.lm_head.lora_A.weight": (2, 8)}, base, "x")
    assert misfit({}, base, "x") == "it holds no LoRA weights"


def lora(module, into, out):
    name = f"base_model.model.{module}.lora_"
    return {f"{name}A.weight": (2, into), f"{name}B.weight": (out, 2)}
