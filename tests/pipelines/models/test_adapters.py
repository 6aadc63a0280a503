"""Many adapters on one base: each request gets its own weights, and the base stays the base."""

from __future__ import annotations

import random
import threading

import pytest

from pipelines.completion import Sampling, complete
from pipelines.errors import InputError
from pipelines.models import resident as resident_module
from tests.conftest import write_adapter


def logits(lease, ids=(0, 20, 30, 40)):
    import torch

    with lease.active() as model:
        return model(torch.tensor([list(ids)])).logits.clone()


def by_peft(base, adapter):
    """Logits as a person gets them who loads the adapter with PEFT and nothing else."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    with torch.inference_mode():
        return model.eval()(torch.tensor([[0, 20, 30, 40]])).logits


# The manager turns float32 weights in memory, and a product of the same numbers lying otherwise rounds otherwise.
ROUNDING = 2e-5


def test_each_adapter_gives_what_peft_gives(studio, tiny_pair):
    for name in ("one", "two", "dora"):
        expected = by_peft(tiny_pair.base, tiny_pair.base.parent / "runs" / name / "adapter")
        with studio.lease(f"run:{name}") as lease:
            assert (logits(lease) - expected).abs().max() < ROUNDING
            assert lease.adapter_bytes > 0
    assert [status.resident for status in studio.models() if status.key == "run:one"] == [True]


def test_after_any_sequence_of_adapters_the_base_is_a_fresh_base_to_the_bit(studio, tiny_pair):
    with studio.fresh("base") as copy:
        expected = logits(copy)
    assert (expected - by_peft(tiny_pair.base, None)).abs().max() < ROUNDING
    names = ["base", "run:one", "run:two", "run:dora"]
    choose = random.Random(0)
    for _ in range(40):
        name = choose.choice(names)
        with studio.lease(name) as lease:
            difference = (logits(lease) - expected).abs().max()
            assert lease.active_adapters() == (() if name == "base" else (lease.adapter_name,))
        assert (difference == 0) == (name == "base"), name


def test_streams_of_base_and_adapters_from_many_threads_do_not_mix(studio):
    names = ["base", "run:one", "run:two", "run:dora", "base"]
    sampling = Sampling(40)

    def answer(name):
        return [token.id for token in list(complete(studio, "The capital", name, sampling))[-1].tokens]

    alone = {name: answer(name) for name in names}
    assert len({tuple(ids) for ids in alone.values()}) == 4
    together: dict[int, list[list[int]]] = {index: [] for index in range(len(names))}
    threads = [
        threading.Thread(target=lambda i=index, n=name: together[i].extend(answer(n) for _ in range(3)))
        for index, name in enumerate(names)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for index, name in enumerate(names):
        assert together[index] == [alone[name]] * 3


def test_all_adapters_share_the_weights_of_one_base(studio):
    with studio.lease("base") as base, studio.lease("run:one") as one, studio.lease("run:two") as two:
        assert base.model is one.model is two.model
        assert one.weight_bytes == base.weight_bytes


def test_an_adapter_that_was_written_again_is_read_again(studio, tiny_pair):
    folder = tiny_pair.base.parent / "runs" / "one" / "adapter"
    with studio.lease("run:one") as lease:
        before = logits(lease)
    write_adapter(tiny_pair.base, folder, 9)
    with studio.lease("run:one") as lease:
        assert (logits(lease) - before).abs().max() > 0
        assert (logits(lease) - by_peft(tiny_pair.base, folder)).abs().max() < ROUNDING


def test_adapters_that_nobody_leases_make_room_and_the_last_one_too(studio, tiny_pair, monkeypatch):
    monkeypatch.setattr(resident_module, "MAX_ADAPTERS", 1)
    with studio.fresh("base") as copy:
        expected = logits(copy)
    for name in ("one", "two", "dora", "one"):
        with studio.lease(f"run:{name}") as lease:
            wanted = by_peft(tiny_pair.base, tiny_pair.base.parent / "runs" / name / "adapter")
            assert (logits(lease) - wanted).abs().max() < ROUNDING
        with studio.lease("base") as lease:
            assert (logits(lease) - expected).abs().max() == 0
    with studio.lease("run:one"), pytest.raises(InputError, match="1 adapters of tiny-base are in use"):
        studio.lease("run:two").__enter__()


def test_an_adapter_of_another_shape_is_refused_and_leaves_the_base_alone(studio, tiny_pair):
    import torch
    from safetensors.torch import load_file, save_file

    broken = tiny_pair.base.parent / "runs" / "broken" / "adapter"
    write_adapter(tiny_pair.base, broken, 4)
    tensors = load_file(broken / "adapter_model.safetensors")
    save_file({key: torch.zeros(3, 5) for key in tensors}, broken / "adapter_model.safetensors")
    for _ in range(2):
        with pytest.raises(InputError, match="does not fit tiny-base"), studio.lease("run:broken"):
            pass
        with studio.lease("base") as lease:
            assert (logits(lease) - by_peft(tiny_pair.base, None)).abs().max() < ROUNDING
            assert lease.active_adapters() == ()
        with studio.lease("run:one") as lease:
            assert lease.active_adapters() == (lease.adapter_name,)


def test_an_adapter_that_changes_the_base_itself_is_refused(studio, tiny_pair):
    write_adapter(tiny_pair.base, tiny_pair.base.parent / "runs" / "biased" / "adapter", 4, bias="lora_only")
    with pytest.raises(InputError, match="trained biases"), studio.lease("run:biased"):
        pass


def test_a_registered_adapter_needs_no_runs_directory(studio, tiny_pair, tmp_path):
    studio.register_adapter("elsewhere", write_adapter(tiny_pair.base, tmp_path / "x" / "y", 5))
    with studio.lease("run:elsewhere") as lease:
        assert lease.spec.base is not None and lease.spec.base.key == "tiny-base"


def test_a_run_that_trained_every_weight_is_a_model_of_its_own(studio, tiny_pair):
    import shutil

    folder = tiny_pair.base.parent / "runs" / "full"
    shutil.copytree(tiny_pair.instruct, folder / "model")
    (folder / "config.json").write_text('{"model": "base"}')
    with studio.lease("run:full") as lease:
        assert lease.spec.role == "fine-tuned"
        assert (logits(lease) - by_peft(tiny_pair.instruct, None)).abs().max() < ROUNDING


def test_an_adapter_refuses_another_template_than_its_own_with_a_diff(studio, tiny_pair, tiny_tokenizer):
    """hiyouga/LLaMA-Factory issue 5834: under another template an adapter answers, only worse."""
    from pipelines.completion import chat
    from pipelines.messages import Message
    from pipelines.templates import get_template

    tokenizer = type(tiny_tokenizer).from_pretrained(tiny_pair.base)
    tokenizer.chat_template = get_template("chatml").jinja
    tokenizer.save_pretrained(tiny_pair.base.parent / "runs" / "one" / "adapter")

    def answer(model, template):
        return list(chat(studio, (Message("user", "Hi"),), model, Sampling(3), template))[-1]

    same = answer("run:one", "chatml")
    assert same.text == answer("run:one", "").text
    with pytest.raises(InputError) as refused:
        answer("run:one", "zephyr")
    said = str(refused.value)
    assert "'zephyr' is not the template that Run one was trained with" in said
    assert "-<|im_start|>user" in said and "+<|user|>" in said
    answer("instruct", "zephyr")  # only an adapter has one that it was trained with here
