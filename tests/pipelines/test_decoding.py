"""Streams and batches against `model.generate`, and text that never breaks a character."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.decoding import TextStream, generate_batch, stream
from pipelines.errors import InputError
from pipelines.models import ModelManager

PROMPTS = ["The capital of France is", "Photosynthesis", "0 1 2 3", "Grüße aus 東京", "a", "x y z " * 10]


@pytest.fixture(scope="module")
def manager(tiny_folders):
    return ModelManager(tiny_folders.settings)


def reference(lease, ids, count, **options):
    """The new ids of transformers' own greedy loop."""
    import torch

    with torch.inference_mode():
        prompt = torch.tensor([ids])
        output = lease.model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=count, do_sample=False, **options
        )
    return output[0, len(ids) :].tolist()


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_greedy_stream_gives_the_tokens_of_generate(manager, prompt):
    with manager.lease("instruct") as lease:
        ids = lease.tokenizer(prompt)["input_ids"]
        assert [token for token, _ in stream(lease, ids, 40)] == reference(lease, ids, 40)


def test_a_stream_stops_after_any_of_the_stop_tokens(manager):
    with manager.lease("base") as lease:
        ids = lease.tokenizer("a")["input_ids"]
        tokens = [token for token, _ in stream(lease, ids, 40)]
        stop = tokens[5]
        lease.model.generation_config.eos_token_id = [lease.tokenizer.eos_token_id, stop]
        try:
            assert [token for token, _ in stream(lease, ids, 40)] == tokens[: tokens.index(stop) + 1]
        finally:
            lease.model.generation_config.eos_token_id = [1, 6]


def test_a_stream_ends_with_the_context(manager):
    with manager.lease("base") as lease:
        stops, lease.model.generation_config.eos_token_id = lease.model.generation_config.eos_token_id, None
        ids = [10] * (lease.context_length - 3)
        assert len(list(stream(lease, ids, 40))) <= 3
        lease.model.generation_config.eos_token_id = stops


def test_a_seed_repeats_a_sampled_stream_and_another_changes_it(manager):
    def sampled(seed):
        with manager.lease("base") as lease:
            ids = lease.tokenizer("The")["input_ids"]
            return [token for token, _ in stream(lease, ids, 30, temperature=1.5, seed=seed)]

    assert sampled(1) == sampled(1) != sampled(2)


def test_a_batch_gives_each_prompt_what_it_gets_alone(manager):
    with manager.lease("base") as lease:
        prompts = [lease.tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
        alone = [[token for token, _ in stream(lease, ids, 25)] for ids in prompts]
        assert generate_batch(lease, prompts, 25) == alone
        assert generate_batch(lease, prompts, 25, batch_size=2) == alone


def test_a_batch_goes_on_when_some_rows_have_stopped(manager):
    with manager.lease("base") as lease:
        prompts = [lease.tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
        before = lease.model.generation_config.eos_token_id
        try:
            lease.model.generation_config.eos_token_id = generate_batch(lease, prompts, 25)[0][3]
            alone = [[token for token, _ in stream(lease, ids, 25)] for ids in prompts]
            assert len({len(answer) for answer in alone}) > 1
            assert generate_batch(lease, prompts, 25) == alone
        finally:
            lease.model.generation_config.eos_token_id = before


def test_a_cancelled_batch_returns_what_it_has(manager):
    cancel = threading.Event()
    cancel.set()
    with manager.lease("base") as lease:
        assert generate_batch(lease, [[5, 6], [7]], 10, cancel=cancel) == [[], []]


def test_weights_that_give_no_number_are_an_error_of_the_model(manager):
    import torch

    with manager.fresh("base") as lease:
        lease.model.model.norm.weight.fill_(float("nan"))
        with pytest.raises(InputError, match="not numbers"):
            list(stream(lease, [5, 6], 3))
        with pytest.raises(InputError, match="not numbers"):
            list(stream(lease, [5, 6], 3, temperature=1.0))
        assert torch.isnan(lease.model.model.norm.weight).all()


@given(st.lists(st.integers(0, 255), max_size=30))
def test_pieces_join_to_the_decoded_whole_and_hold_back_half_characters(tiny_tokenizer, tokens):
    pieces = TextStream(tiny_tokenizer, [10, 11])
    given_out = [pieces.push(token) for token in tokens]
    text = "".join(given_out) + pieces.flush()
    assert text == tiny_tokenizer.decode(tokens, skip_special_tokens=True)


def test_a_character_of_four_tokens_comes_out_whole(tiny_tokenizer):
    ids = [tiny_tokenizer.convert_tokens_to_ids(letter) for letter in "ðŁĮĲ"]  # the four bytes of 🌐
    pieces = TextStream(tiny_tokenizer)
    assert [pieces.push(token) for token in ids] == ["", "", "", "🌐"]
