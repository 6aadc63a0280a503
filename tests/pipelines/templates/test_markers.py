"""Derived generation markers: the same text, and through TRL's own tokenization and collator exactly our labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipelines.errors import InputError
from pipelines.labels import IGNORE_INDEX, label
from pipelines.messages import parse_messages
from pipelines.templates import TemplateEntry, catalogue, get_template, render
from pipelines.templates.canonical import pieces_of, source_of
from pipelines.templates.markers import mask_fault, with_markers
from pipelines.templates.rendering import plain_text
from pipelines.trl_mask import trl_labels
from tests.pipelines.templates.conversations import CONVERSATIONS, TOOLS

KEYS = [entry.key for entry in catalogue()]
# Not offered: a thinking block that the message holds begins with the very text that the generation prompt ends with.
WITHOUT = ["nemotron3-nano"]
# This template writes no stop token, so the answer's last character ends the block; of a character of several tokens
# transformers' mask then keeps the first token only.
CUT_SHORT = ["glm4-moe"]


def test_nearly_the_whole_catalogue_can_be_marked() -> None:
    assert [key for key in KEYS if with_markers(get_template(key)).jinja is None] == WITHOUT


@pytest.mark.slow
@pytest.mark.parametrize("key", [key for key in KEYS if key not in WITHOUT])
def test_trl_trains_on_exactly_our_mask(key: str, tiny_tokenizer: Any) -> None:
    entry = get_template(key)
    marked = with_markers(entry)
    assert marked.jinja
    compared = 0
    for name, chat in CONVERSATIONS.items():
        if name == "long":
            continue
        tools = TOOLS if "call" in name else None
        messages = parse_messages(chat)
        try:
            rendered = render(messages, entry, tools=tools)
            ours = label(rendered, tiny_tokenizer)
        except InputError:
            continue
        ids, labels = trl_labels(messages, replace(entry, jinja=marked.jinja), tiny_tokenizer, tools)
        assert ids == ours.input_ids, name
        differing = [pair for pair in zip(labels, ours.labels, strict=True) if pair[0] != pair[1]]
        cut_short = key in CUT_SHORT and all(theirs == IGNORE_INDEX for theirs, _ in differing)
        assert not differing or cut_short, name
        compared += 1
    assert compared > 15


@pytest.mark.parametrize("key", ["llama3", "qwen3", "mistral-v0.3"])
def test_a_template_taken_apart_renders_the_same(key: str) -> None:
    entry = get_template(key)
    canonical = replace(entry, jinja=source_of(pieces_of(entry.jinja)))
    for chat in CONVERSATIONS.values():
        for prompt in (False, True):
            try:
                expected = plain_text(chat, entry, prompt)
            except InputError:
                continue
            assert plain_text(chat, canonical, prompt) == expected


def test_a_template_that_has_right_markers_is_left_alone() -> None:
    pocket = get_template("pocket")
    assert with_markers(pocket).own
    assert with_markers(pocket).jinja == pocket.jinja


def test_wrong_markers_are_found() -> None:
    entry = get_template("chatml")
    whole = "{% for m in messages %}{% generation %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    assert "cover other characters" in mask_fault(whole + "{% endgeneration %}{% endfor %}", entry)
    assert "the text of an answer changes" in mask_fault("{% generation %}x{% endgeneration %}", entry)


def test_what_cannot_be_marked_says_why() -> None:
    loop = "{% for m in messages %}{% set ns.t = ns.t ~ m.content ~ '</s>' %}{% endfor %}"
    jinja = "{% set ns = namespace(t='') %}" + loop + "{{ ns.t }}"
    marked = with_markers(TemplateEntry("v", "v", (), jinja))
    assert marked.jinja is None
    assert "several answers at once" in marked.reason
