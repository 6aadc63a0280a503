"""The difference of two renderings: spells both, keeps what was said together, and takes no longer for long texts."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from pipelines.errors import InputError
from pipelines.messages import Message, parse_messages
from pipelines.templates import Rendered, Span, catalogue, get_template, render
from pipelines.templates.comparing import compare
from tests.pipelines.templates.conversations import CONVERSATIONS


def spelled(differences: object, side: str) -> str:
    return "".join(part.text for part in differences if part.side in ("same", side))  # type: ignore[attr-defined]


@pytest.mark.parametrize("first, second", list(pairwise([entry.key for entry in catalogue()])))
def test_the_stretches_spell_both_renderings(first: str, second: str) -> None:
    for name in ("system and two turns", "blanks around", "thinking in the text", "the same words", "long"):
        messages = parse_messages(CONVERSATIONS[name])
        try:
            left, right = render(messages, get_template(first)), render(messages, get_template(second))
        except InputError:
            continue
        differences = compare(left, right)
        assert spelled(differences, "left") == left.text and spelled(differences, "right") == right.text
        assert all(a.side != b.side for a, b in pairwise(differences))


def test_what_was_said_is_never_matched_with_control_text() -> None:
    messages = (Message("user", "user"), Message("assistant", "im_start"))
    differences = compare(*(render(messages, get_template(key)) for key in ("chatml", "pocket")))
    same = [part.text for part in differences if part.side == "same"]
    assert any(text.startswith("user") for text in same) and any(text.startswith("im_start") for text in same)


@pytest.mark.parametrize("said", ["a\n" * 500_000, "x" * 1_000_000, "".join(f"{n}\n" for n in range(100_000))])
def test_a_megabyte_is_compared_at_once(said: str) -> None:
    messages = (Message("user", "hi"), Message("assistant", said))
    left, right = (render(messages, get_template(key)) for key in ("chatml", "llama3"))
    begin = time.process_time()
    differences = compare(left, right)
    assert time.process_time() - begin < 5
    assert spelled(differences, "right") == right.text
    assert max(len(part.text) for part in differences if part.side == "same") >= len(said.strip())


def test_texts_that_share_nothing_known_are_compared_within_bounds() -> None:
    left, right = (
        Rendered(text, (Span("user", "control", 0, len(text), None),)) for text in ("ab\n" * 9_000, "cb\n" * 9_000)
    )
    differences = compare(left, right)
    assert (spelled(differences, "left"), spelled(differences, "right")) == (left.text, right.text)
