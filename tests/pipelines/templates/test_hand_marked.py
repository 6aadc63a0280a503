"""The loss mask of every template on every conversation, against answers that were marked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pipelines.errors import InputError
from pipelines.labels import IGNORE_INDEX, label
from pipelines.messages import parse_messages
from pipelines.templates import Rendered, catalogue, get_template, render
from pipelines.templates.rendering import plain_text
from tests.pipelines.templates.conversations import CONVERSATIONS, TOOLS
from tests.pipelines.templates.hand_marked import ANSWERS, hidden, marked_answers, shown

KEYS = [entry.key for entry in catalogue()]

# Gemma 4 has one token where a call ends and the tool's response begins. It is the response's where one follows (so
# TRL marks its training templates of this format, too), and the end of the answer only where none does.
RESPONSES = "<|tool_response>"
WITH_RESPONSES = {"gemma4": {"tool call", "tool call with words", "two tool calls"}}
# Gemma 4 also prints what follows a response in the turn of the call, and two answers in a row as one turn: by hand
# the last answer is then longer than the last message's.
SHARED_TURNS = {"gemma4": {"two assistants", "tool call with words"}}


def expected_labels(rendered: Rendered, answers: Sequence[tuple[int, int]], tokenizer: Any) -> tuple[int, ...]:
    """Labels by the rule of the contract, character by character: a token that touches an answer is learned."""
    encoded = tokenizer(rendered.text, add_special_tokens=False, return_offsets_mapping=True)
    inside = bytearray(len(rendered.text))
    for start, end in answers:
        inside[start:end] = b"\x01" * (end - start)
    return tuple(
        token if any(inside[start:end]) else IGNORE_INDEX
        for token, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    )


def test_every_template_is_marked() -> None:
    assert list(ANSWERS) == KEYS


@pytest.mark.parametrize("key", KEYS)
def test_labels_equal_the_hand_marked_answers(key: str, tiny_tokenizer: Any) -> None:
    entry = get_template(key)
    compared = 0
    for name, chat in CONVERSATIONS.items():
        tools = TOOLS if "call" in name else None
        try:
            rendered = render(parse_messages(chat), entry, tools=tools)
        except InputError:
            continue
        covered = plain_text(hidden(chat), entry, tools=tools)
        assert shown(covered) == rendered.text, name
        answers = marked_answers(key, covered)
        if name in WITH_RESPONSES.get(key, ()):
            answers = [(start, start + len(covered[start:end].removesuffix(RESPONSES))) for start, end in answers]
        if not answers:
            with pytest.raises(InputError, match="no answer to learn from"):
                label(rendered, tiny_tokenizer)
            continue
        assert label(rendered, tiny_tokenizer).labels == expected_labels(rendered, answers, tiny_tokenizer), name
        if name not in SHARED_TURNS.get(key, ()):
            last = expected_labels(rendered, answers[-1:], tiny_tokenizer)
            assert label(rendered, tiny_tokenizer, "last_assistant").labels == last, name
        compared += 1
    assert compared > 15
