"""One batch of a base and its adapters: each row as alone, and the base untouched by whatever was done beside it."""

from __future__ import annotations

import random
import threading

import pytest

from pipelines.comparison import measure_merge, side_by_side
from pipelines.completion import Sampling, chat, complete
from pipelines.messages import Message
from pipelines.models import ModelManager
from pipelines.settings import Settings
from pipelines.together import Ask, answer_together
from tests.conftest import write_adapter

PERSONALITIES = ["pocket-coder", "pocket-doctor", "pocket-poet", "pocket-shop-assistant"]


@pytest.fixture(scope="module")
def pocket():
    return ModelManager(Settings(device="cpu"))


@pytest.fixture
def studio(tiny_pair):
    """Runs of other ranks, targets and scalings, and one (DoRA) that cannot share a pass."""
    runs = tiny_pair.base.parent / "runs"
    write_adapter(tiny_pair.base, runs / "one" / "adapter", 1)
    write_adapter(tiny_pair.base, runs / "two" / "adapter", 2, r=2, lora_alpha=3, target_modules=["q_proj", "v_proj"])
    write_adapter(tiny_pair.base, runs / "three" / "adapter", 3, r=3, use_rslora=True, target_modules=["down_proj"])
    write_adapter(tiny_pair.base, runs / "dora" / "adapter", 4, use_dora=True)
    write_adapter(tiny_pair.base, runs / "whole" / "adapter", 5, modules_to_save=["lm_head"], target_modules=["q_proj"])
    return ModelManager(tiny_pair.settings)


def alone(manager, model, prompt, sampling):
    if model == "base":
        return list(complete(manager, prompt, model, sampling))[-1]
    return list(chat(manager, (Message("user", prompt),), model, sampling))[-1]


def mixed(manager, models, prompt, sampling):
    asks = [Ask(model, prompt, model != "base") for model in models]
    return list(answer_together(manager, asks, sampling))[-1]


def test_random_mixes_of_the_pair_and_its_personalities_answer_as_each_does_alone(pocket):
    choose = random.Random(4)
    prompts = ["What is the capital of France?", "My head hurts. What can I do?"]
    for number, prompt in enumerate(prompts):
        models = choose.sample(["base", "instruct", *PERSONALITIES], choose.randint(3, 6))
        sampling = Sampling(14, temperature=0.0 if number else 0.8, seed=number)
        columns = list(side_by_side(pocket, prompt, models, sampling))[-1]
        for model, column in zip(models, columns, strict=True):
            expected = alone(pocket, model, prompt, sampling)
            assert [token.id for token in column.completion.tokens] == [token.id for token in expected.tokens], model
            assert column.completion.text == expected.text
            assert column.completion.stop_reason == expected.stop_reason
            assert column.batch == (1 if model == "instruct" else len(set(models) - {"instruct"}))


def test_ranks_targets_and_scalings_of_their_own_in_one_batch(studio):
    choose = random.Random(1)
    names = ["base", "run:one", "run:two", "run:three"]
    for seed in range(8):
        models = [choose.choice(names) for _ in range(choose.randint(2, 7))]
        prompt, sampling = (
            choose.choice(["a", "The capital of", "x y z " * 8]),
            Sampling(25, choose.choice([0, 1.2]), seed),
        )
        for model, answer in zip(models, mixed(studio, models, prompt, sampling), strict=True):
            assert answer.completion.text == alone(studio, model, prompt, sampling).text, (models, model)
            assert answer.batch == len(models)


def test_what_is_more_than_two_matrices_takes_turns_with_the_batch(studio):
    models = ["base", "run:dora", "run:one", "run:whole"]
    answers = mixed(studio, models, "The capital of", Sampling(20))
    assert [answer.batch for answer in answers] == [2, 1, 2, 1]
    for model, answer in zip(models, answers, strict=True):
        assert answer.completion.text == alone(studio, model, "The capital of", Sampling(20)).text
    with studio.lease("run:dora") as dora, studio.lease("run:whole") as whole:
        assert (dora.adapter.alone, whole.adapter.alone) == (
            "it is more than a product of two matrices",
            "it replaces whole modules",
        )


def test_the_base_is_a_fresh_base_after_any_sequence_of_switches_batches_and_merges(studio):
    """unslothai/unsloth issue 4503: a base that kept something of the adapter that was used before it."""
    import torch

    ids = torch.tensor([[0, 20, 30, 40]])
    names = ["run:one", "run:two", "run:three", "run:dora", "run:whole"]
    with studio.fresh("base") as copy, copy.active() as model:
        expected = model(input_ids=ids).logits
    choose = random.Random(7)
    for turn in range(24):
        done = choose.choice(["switch", "batch", "merge", "stop"])
        some = choose.sample(names[:3], 2)
        if done == "switch":
            alone(studio, choose.choice(names), "a", Sampling(2))
        elif done == "batch":
            mixed(studio, [*some, "base", choose.choice(names)], "a b", Sampling(4))
        elif done == "merge":
            measure_merge(studio, choose.choice(names[:3]), "a")
        else:
            answers = answer_together(studio, [Ask(name, "a", True) for name in some], Sampling(20))
            next(answers)
            next(answers)
            answers.close()
        with studio.lease("base") as lease, lease.active() as model:
            assert torch.equal(model(input_ids=ids).logits, expected), (turn, done)


def test_an_adapter_that_gives_no_number_fails_alone(studio, tiny_pair):
    from safetensors.torch import load_file, save_file

    folder = write_adapter(tiny_pair.base, tiny_pair.base.parent / "runs" / "broken" / "adapter", 6)
    weights = load_file(folder / "adapter_model.safetensors")
    save_file({key: value * float("nan") for key, value in weights.items()}, folder / "adapter_model.safetensors")
    one, broken, base = mixed(studio, ["run:one", "run:broken", "base"], "The capital", Sampling(10))
    assert "not numbers" in broken.error and broken.completion is None
    assert one.completion.text == alone(studio, "run:one", "The capital", Sampling(10)).text
    assert base.completion.text == alone(studio, "base", "The capital", Sampling(10)).text


def test_a_row_that_cannot_begin_leaves_the_batch_to_the_others(studio):
    long = "x y z " * 60
    asks = [Ask("base", "a", False), Ask("run:one", long, True), Ask("run:gone", "a", True), Ask("run:two", "a", True)]
    base, one, gone, two = list(answer_together(studio, asks, Sampling(5)))[-1]
    assert "at most" in one.error and "no weights" in gone.error
    assert base.completion.stop_reason and two.completion.stop_reason and base.batch == two.batch == 2


def test_stop_ends_every_row_and_gives_the_leases_back(studio):
    cancel = threading.Event()
    asks = [Ask(name, "a", True) for name in ("run:one", "run:two", "run:dora")]
    answers = answer_together(studio, asks, Sampling(100, 1.0), cancel)
    next(answers)
    next(answers)
    cancel.set()
    last = list(answers)[-1]
    assert {answer.completion.stop_reason for answer in last} <= {"cancelled", "eos"}
    assert all(answer.completion.new_tokens < 100 for answer in last)
    assert studio.engine.load == (0, 0)
    assert all(resident.leases == 0 for resident in studio._shelf._residents.values())
