"""The forms in which servers write one thing, as their documentation and code give them."""

from __future__ import annotations

import math

import pytest

from pipelines.errors import InputError
from pipelines.remote.replies import Delta, Scored, read
from tests.pipelines.remote.conftest import said, written

PARIS = {" Paris": math.log(0.75), " the": math.log(0.125)}
SCORED = (Scored(" Paris", 0.75, ((" Paris", 0.75), (" the", 0.125))),)


@pytest.mark.parametrize("form", [written, said])
def test_lists_and_objects_of_log_probabilities_say_the_same(form):
    delta = read(form(" Paris", "length", PARIS))
    assert (delta.text, delta.finish) == (" Paris", "length")
    assert delta.scored[0].token == " Paris"
    assert [token for token, _ in delta.scored[0].likely] == [" Paris", " the"]
    assert [share for _, share in delta.scored[0].likely] == pytest.approx([0.75, 0.125])


def test_completions_of_llama_cpp_carry_objects():
    reply = written(" Paris")
    reply["choices"][0]["logprobs"] = said(" Paris", None, PARIS)["choices"][0]["logprobs"]
    assert read(reply).scored[0].probability == pytest.approx(0.75)


def test_a_whole_message_is_read_like_a_stream():
    assert read({"choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}) == Delta(
        "Hi", (), "stop"
    )


def test_what_a_model_thinks_is_part_of_what_it_writes():
    assert read({"choices": [{"delta": {"reasoning_content": "Hm. ", "content": None}}]}).text == "Hm. "


def test_an_event_that_only_counts_adds_nothing():
    assert read({"choices": [], "usage": {"completion_tokens": 7}}) == Delta(count=7)


@pytest.mark.parametrize("value", [None, -9999.0, float("nan"), -math.inf])
def test_an_impossible_token_has_probability_zero(value):
    reply = written("x")
    reply["choices"][0]["logprobs"] = {"tokens": ["x"], "token_logprobs": [value], "top_logprobs": None}
    assert read(reply).scored == (Scored("x", 0.0, ()),)


def test_an_error_inside_a_stream_is_told():
    with pytest.raises(InputError, match=r"ended the answer: out of memory\. Ask again\."):
        read({"error": {"message": "out of memory.", "code": 500}})


@pytest.mark.parametrize(
    "reply",
    [
        None, 3, "text", [], {}, {"choices": None}, {"choices": ["x"]},
        {"choices": [{"text": "a", "logprobs": {"tokens": ["a", "b"], "token_logprobs": [0.0]}}]},
        {"choices": [{"text": "a", "logprobs": {"content": [{"token": "a"}]}}]},
        {"choices": [{"text": "a", "logprobs": "many"}]},
    ],
)  # fmt: skip
def test_what_is_no_reply_is_a_sentence(reply):
    with pytest.raises(InputError, match="not in the form of OpenAI's API"):
        read(reply)
