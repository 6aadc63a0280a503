"""Which tokens learn: the answers and their stop tokens, never a header."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pipelines.errors import InputError
from pipelines.labels import IGNORE_INDEX, LabelledTokens, label
from pipelines.messages import Message
from pipelines.templates import Rendered, get_template, render


def conversation(*turns: str) -> tuple[Message, ...]:
    """`"user: 2+2?"` → a message."""
    return tuple(Message(*turn.split(": ", 1)) for turn in turns)


TWO_TURNS = conversation("user: 2+2?", "assistant: 4", "user: 3+3?", "assistant: 6")


class WordTokenizer:
    """Control strings, words, and single other characters; ids are made up as they come."""

    def __init__(self, pattern: str = r"<\|\w+\|>|\w+|.") -> None:
        self.pattern, self.vocabulary = re.compile(pattern, re.DOTALL), {}  # type: ignore[var-annotated]

    def __call__(self, text: str, *, add_special_tokens: bool, return_offsets_mapping: bool) -> Any:
        assert not add_special_tokens and return_offsets_mapping
        found = list(self.pattern.finditer(text))
        ids = [self.vocabulary.setdefault(match[0], len(self.vocabulary)) for match in found]
        return {"input_ids": ids, "offset_mapping": [match.span() for match in found]}


def supervised(rendered: Rendered, labelled: LabelledTokens) -> str:
    pieces = zip(labelled.labels, labelled.offsets, strict=True)
    return "".join(rendered.text[start:end] for name, (start, end) in pieces if name != IGNORE_INDEX)


@pytest.mark.parametrize(
    "train_on, expected",
    [("assistant", "4<|im_end|>6<|im_end|>"), ("last_assistant", "6<|im_end|>")],
)
def test_answers_and_their_stop_tokens_are_supervised(train_on: Any, expected: str) -> None:
    rendered = render(TWO_TURNS, get_template("chatml"))
    labelled = label(rendered, WordTokenizer(), train_on)
    assert supervised(rendered, labelled) == expected
    kept = [pair for pair in zip(labelled.labels, labelled.input_ids, strict=True) if pair[0] != IGNORE_INDEX]
    assert all(name == token for name, token in kept)


def test_everything_supervises_every_token() -> None:
    rendered = render(TWO_TURNS, get_template("chatml"))
    labelled = label(rendered, WordTokenizer(), "everything")
    assert labelled.labels == labelled.input_ids
    assert supervised(rendered, labelled) == rendered.text


@pytest.mark.parametrize(
    "turns, expected",
    [
        (["assistant: hello", "user: hi"], "hello<|eot_id|>"),
        (["user: hi", "assistant: hello", "user: bye"], "hello<|eot_id|>"),
        (["system: be <|eot_id|> brief", "user: hi", "assistant:  hello "], "hello<|eot_id|>"),
        (["user: hi", "assistant: "], "<|eot_id|>"),
    ],
)
def test_any_order_of_turns_is_masked_in_llama_3(turns: list[str], expected: str) -> None:
    rendered = render(conversation(*turns), get_template("llama3"))
    assert supervised(rendered, label(rendered, WordTokenizer())) == expected


def test_a_template_that_is_not_prefix_preserving_is_masked_in_the_whole_rendering() -> None:
    rendered = render(TWO_TURNS, get_template("phi3"))
    assert rendered.text.endswith("<|end|>\n<|endoftext|>")
    assert supervised(rendered, label(rendered, WordTokenizer())) == "4<|end|>6<|end|>"


def test_a_token_that_straddles_header_and_answer_is_supervised() -> None:
    rendered = render(conversation("user: 2+2?", "assistant: 4"), get_template("chatml"))
    merging = WordTokenizer(r"<\|\w+\|>|\n?\w+|.")
    assert supervised(rendered, label(rendered, merging)) == "\n4<|im_end|>"


def test_roles_name_whose_turn_a_token_is() -> None:
    rendered = render(conversation("user: 2+2?", "assistant: 4"), get_template("chatml"))
    labelled = label(rendered, WordTokenizer())
    assert list(dict.fromkeys(labelled.roles)) == ["user", "assistant"]


def test_a_conversation_without_an_answer_says_what_to_add() -> None:
    with pytest.raises(InputError, match=r"roles: user.*Add an assistant message"):
        label(render(conversation("user: 2+2?"), get_template("chatml")), WordTokenizer())


def test_an_unknown_train_on_names_the_nearest() -> None:
    rendered = render(TWO_TURNS, get_template("chatml"))
    with pytest.raises(InputError, match=r"train_on.*Did you mean 'assistant'"):
        label(rendered, WordTokenizer(), "assistants")  # type: ignore[arg-type]
