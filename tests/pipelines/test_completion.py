"""What can be asked of a model, and what a person is told who asks for something else."""

from __future__ import annotations

import itertools
import math
import threading

import pytest

from pipelines import completion
from pipelines.completion import (
    Sampling,
    chat,
    chat_ids,
    complete,
    continue_ids,
    next_tokens,
    token_losses,
    turn_end_ids,
)
from pipelines.errors import InputError
from pipelines.messages import Message
from pipelines.models import ModelManager

QUESTION = (Message("user", "What is the capital of France?"),)


@pytest.fixture(scope="module")
def manager(tiny_folders):
    return ModelManager(tiny_folders.settings)


def last(completions):
    return list(completions)[-1]


def leases(manager):
    return sum(resident.leases for resident in manager._shelf._residents.values())


def test_a_completion_grows_and_ends_with_a_reason(manager):
    seen = list(complete(manager, "The capital", sampling=Sampling(20)))
    assert all(after.text.startswith(before.text) for before, after in itertools.pairwise(seen))
    assert [value.stop_reason for value in seen[:-1]] == [None] * (len(seen) - 1)
    assert seen[-1].stop_reason in ("length", "eos")
    assert seen[-1].new_tokens == len(seen[-1].tokens) <= 20


def test_text_is_the_decoding_of_the_tokens_without_special_ones(manager):
    for seed in range(5):
        answer = last(complete(manager, "Grüße", sampling=Sampling(60, 2.0, seed)))
        ids = [token.id for token in answer.tokens]
        assert answer.text == manager.tokenizer("base").decode(ids, skip_special_tokens=True)


def test_every_token_carries_its_probability_and_what_else_could_have_stood_there(manager):
    answer = last(complete(manager, "The", sampling=Sampling(5, 1.0, 3)))
    for token in answer.tokens:
        assert len(token.alternatives) == 10
        assert sorted((other.probability for other in token.alternatives), reverse=True) == [
            other.probability for other in token.alternatives
        ]
        assert 0 < token.probability <= token.alternatives[0].probability


def test_another_token_can_be_put_in_place_and_continued(manager):
    answer = last(complete(manager, "The capital", sampling=Sampling(8)))
    branch = [*answer.prompt_ids, *(token.id for token in answer.tokens[:3])]
    again = last(continue_ids(manager, branch, sampling=Sampling(5)))
    assert [token.id for token in again.tokens] == [token.id for token in answer.tokens[3:8]]


def test_next_tokens_are_the_softmax_of_the_last_position(manager):
    import torch

    found = next_tokens(manager, "The capital of France is", "instruct", 7)
    with manager.lease("instruct") as lease, lease.active() as model:
        ids = torch.tensor([lease.tokenizer("The capital of France is")["input_ids"]])
        expected = model(ids).logits[0, -1].softmax(-1).topk(7)
    assert [token.id for token in found] == expected.indices.tolist()
    assert [token.probability for token in found] == pytest.approx(expected.values.tolist(), rel=1e-4)


def test_token_losses_average_to_the_loss_of_transformers(manager):
    import torch

    ids = manager.tokenizer("base")("The capital of France is Paris.")["input_ids"]
    losses = token_losses(manager, ids, "base")
    with manager.lease("base") as lease, lease.active() as model:
        expected = float(model(torch.tensor([ids]), labels=torch.tensor([ids])).loss)
    assert losses[0] is None and len(losses) == len(ids)
    assert sum(losses[1:]) / (len(ids) - 1) == pytest.approx(expected, rel=1e-5)
    assert token_losses(manager, ids[:1], "base") == [None]


def test_a_conversation_is_rendered_by_the_models_own_template(manager):
    with manager.lease("instruct") as lease:
        text = lease.tokenizer.decode(chat_ids(lease, QUESTION))
    assert text == "<|bos|><|user|>What is the capital of France?<|end|><|assistant|>"
    assert last(chat(manager, QUESTION, sampling=Sampling(4))).new_tokens > 0


def test_the_end_of_turn_is_read_off_the_template(manager):
    with manager.lease("instruct") as lease:
        assert turn_end_ids(lease) == {lease.tokenizer.convert_tokens_to_ids("<|end|>")}


def test_an_answer_ends_at_the_templates_end_of_turn(manager, monkeypatch):
    whole = last(chat(manager, QUESTION, sampling=Sampling(30)))
    end = whole.tokens[4].id
    monkeypatch.setattr(completion, "turn_end_ids", lambda lease, template: frozenset({end}))
    cut = last(chat(manager, QUESTION, sampling=Sampling(30)))
    assert cut.stop_reason == "eos"
    assert [token.id for token in cut.tokens] == [token.id for token in whole.tokens[: cut.new_tokens]]
    assert cut.tokens[-1].id == end


def test_cancelling_ends_the_stream_and_returns_the_lease(manager):
    cancel = threading.Event()
    answers = complete(manager, "The", sampling=Sampling(100, 1.0), cancel=cancel)
    next(answers)
    assert leases(manager) == 1
    cancel.set()
    assert last(answers).stop_reason == "cancelled"
    assert leases(manager) == 0


def test_closing_the_stream_returns_the_lease(manager):
    answers = complete(manager, "The", sampling=Sampling(100, 1.0))
    next(answers)
    answers.close()
    assert leases(manager) == 0


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        (Sampling(temperature=-0.1), r"temperature: -0.1 is not allowed. Use a number from 0 to 5."),
        (Sampling(temperature=5.1), r"temperature: 5.1"),
        (Sampling(temperature=math.nan), r"temperature: nan"),
        (Sampling(temperature="hot"), r"temperature: 'hot'"),
        (Sampling(max_new_tokens=0), r"max_new_tokens: 0 .* whole number from 1 to 4096"),
        (Sampling(max_new_tokens=1.5), r"max_new_tokens: 1.5 is not a whole number"),
        (Sampling(max_new_tokens=True), r"max_new_tokens: True"),
        (Sampling(seed=-1), r"seed: -1"),
    ],
)
def test_a_sampling_that_cannot_be_is_refused_by_field(manager, sampling, message):
    with pytest.raises(InputError, match=message):
        complete(manager, "The", sampling=sampling)


@pytest.mark.parametrize("prompt", ["", "  \n", None, 3])
def test_an_empty_prompt_is_refused(manager, prompt):
    with pytest.raises(InputError, match="prompt: is empty"):
        complete(manager, prompt)


def test_a_prompt_longer_than_the_context_says_how_long_it_may_be(manager):
    with pytest.raises(InputError, match=r"prompt: 201 tokens; tiny-base takes 127 at most"):
        list(complete(manager, "7" * 200))
    assert leases(manager) == 0


def test_half_a_surrogate_pair_is_no_crash(manager):
    assert last(complete(manager, "a\ud83d", sampling=Sampling(2))).new_tokens > 0


@pytest.mark.parametrize("k", [0, -1, 1001, "many", 2.5])
def test_a_k_out_of_range_is_refused(manager, k):
    with pytest.raises(InputError, match="k: "):
        next_tokens(manager, "The", "base", k)


def test_an_unknown_model_is_refused_before_anything_runs(manager):
    with pytest.raises(InputError, match=r"'instrukt' is not known\. Did you mean 'instruct'\?"):
        complete(manager, "The", "instrukt")


@pytest.mark.parametrize("ids", [[], [-1], [10**6], ["a"], [True], [5] * 129])
def test_ids_that_are_none_are_refused(manager, ids):
    with pytest.raises(InputError, match="ids: "):
        token_losses(manager, ids)


def test_an_unknown_template_is_refused(manager):
    with pytest.raises(InputError):
        list(chat(manager, QUESTION, template="no-such-template"))
