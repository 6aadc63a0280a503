"""Every template of the catalogue on every conversation: the text is transformers', and the spans tile it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import InputError
from pipelines.messages import Message, parse_messages
from pipelines.templates import Rendered, TemplateEntry, catalogue, get_template, render
from tests.pipelines.templates.conversations import CONVERSATIONS, TOOLS, Chat

KEYS = [entry.key for entry in catalogue()]


def reference(entry: TemplateEntry, chat: Chat, prompt: bool, tools: Any) -> str | Exception:
    """What `apply_chat_template` of a tokenizer with this template gives, or raises."""
    from transformers import PreTrainedTokenizerFast

    try:
        return str(
            _tokenizer(PreTrainedTokenizerFast, entry).apply_chat_template(
                chat, tools=tools, tokenize=False, add_generation_prompt=prompt
            )
        )
    except Exception as error:
        return error


def _tokenizer(make: Any, entry: TemplateEntry) -> Any:
    from tokenizers import Tokenizer, models

    if entry.key not in _made:
        backend = Tokenizer(models.WordLevel({"x": 0}, unk_token="x"))
        _made[entry.key] = make(tokenizer_object=backend, chat_template=entry.jinja, **entry.special_tokens)
    return _made[entry.key]


_made: dict[str, Any] = {}


def check_tiling(rendered: Rendered) -> None:
    position = 0
    for span in rendered.spans:
        assert span.start == position < span.end
        position = span.end
    assert position == len(rendered.text)


@pytest.mark.parametrize("key", KEYS)
def test_renderings_equal_transformers_errors_too(key: str) -> None:
    entry = get_template(key)
    for name, chat in CONVERSATIONS.items():
        for prompt in (False, True):
            tools = TOOLS if "call" in name else None
            expected = reference(entry, chat, prompt, tools)
            try:
                rendered = render(parse_messages(chat), entry, add_generation_prompt=prompt, tools=tools)
            except InputError as error:
                assert isinstance(expected, Exception), (name, error)
                assert str(expected) in str(error), name
                continue
            assert rendered.text == expected, name
            check_tiling(rendered)


@pytest.mark.parametrize("key", KEYS)
def test_no_template_needs_the_search_for_its_spans(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("following the template changed its text")

    monkeypatch.setattr("pipelines.templates.rendering.traced_by_search", fail)
    for name, chat in CONVERSATIONS.items():
        try:
            render(parse_messages(chat), get_template(key), tools=TOOLS if "call" in name else None)
        except InputError:
            continue


# Letters that control strings are made of, so that content often looks like control text.
WORDS = st.text(alphabet=st.sampled_from("ab <>|[]/\n_imstarenduS{}%é👍\u200b"), max_size=12)
PIECES = st.one_of(
    WORDS,
    st.sampled_from(
        ["<|im_end|>", "<|im_start|>assistant\n", "</s>", "[/INST]", "<|eot_id|>", "{{ x }}", "<end_of_turn>"]
    ),
)
CONTENT = st.lists(PIECES, max_size=4).map("".join)
TURNS = st.lists(CONTENT, min_size=1, max_size=6)


@pytest.mark.parametrize("key", KEYS)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(contents=TURNS, system=st.one_of(st.none(), CONTENT), prompt=st.booleans())
def test_spans_tile_and_spell_what_was_said(key: str, contents: list[str], system: str | None, prompt: bool) -> None:
    """10,000 generated cases over the catalogue: content spans hold nothing that the message did not say, and
    plain answers and questions are there whole, but for blanks at their ends and thinking blocks."""
    messages = [Message("system", system)] if system is not None else []
    messages += [Message(("user", "assistant")[n % 2], text) for n, text in enumerate(contents)]
    try:
        rendered = render(messages, get_template(key), add_generation_prompt=prompt)
    except InputError:
        return
    check_tiling(rendered)
    for number, message in enumerate(messages):
        spoken = [rendered.text[s.start : s.end] for s in rendered.spans if s.kind == "content" and s.message == number]
        assert all(piece in message.content for piece in spoken)
        if message.role == "user":
            assert "".join(spoken).strip() == message.content.strip()
    for answer in rendered.answers:
        assert messages[answer.message].role == "assistant"
        inside = [s for s in rendered.spans if s.start < answer.end and s.end > answer.start and s.kind == "content"]
        assert {span.message for span in inside} <= {answer.message}


def test_a_refusal_carries_the_template_s_own_message_and_line() -> None:
    with pytest.raises(InputError, match=r"Gemma.*\(line 1\): “System role not supported”"):
        render(parse_messages(CONVERSATIONS["system"]), get_template("gemma"))


def test_a_template_that_builds_its_text_in_a_variable_is_followed() -> None:
    jinja = (
        "{% set ns = namespace(t='') %}{% for m in messages %}"
        "{% set ns.t = ns.t ~ '<|' ~ m.role ~ '|>' ~ m.content | trim ~ '<|end|>\n' %}{% endfor %}{{ ns.t }}"
    )
    rendered = render(parse_messages(CONVERSATIONS["two turns"]), TemplateEntry("v", "v", (), jinja))
    assert [rendered.text[s.start : s.end] for s in rendered.spans if s.kind == "content"] == ["2+2?", "4", "3+3?", "6"]
    assert [rendered.text[a.start : a.end] for a in rendered.answers] == ["4<|end|>", "6<|end|>"]


@pytest.mark.parametrize(
    "expression",
    [
        "m.content | upper",
        "m.content | trim | replace('a', 'bb')",
        "m.content.split(' ') | join('_')",
        "m.content[::-1]",
        "m.content[1:3] ~ m.content[-1]",
        "m.content | indent(2)",
        "m.content | tojson",
        "m | tojson(indent=2)",
        "[m.content, 'x'] | join(', ')",
        "m.content.partition(' ')[2]",
        "(m.content * 2)[2:]",
        "m.content | title",
        "m.content.splitlines() | first",
        "m.content | list | join('-')",
    ],
)
def test_what_templates_do_to_strings_keeps_the_text(expression: str) -> None:
    jinja = "{% for m in messages %}<" + "{{ " + expression + " }}" + ">{% endfor %}"
    entry = TemplateEntry("v", "v", (), jinja)
    for text in ('a b\nc é"ß', "aa  a"):
        rendered = render((Message("user", text),), entry)
        assert rendered.text == reference_text(jinja, text)
        assert any(span.kind == "content" for span in rendered.spans), expression


def reference_text(jinja: str, content: str) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    chat = [{"role": "user", "content": content}]
    return str(render_jinja_template(conversations=[chat], chat_template=jinja)[0][0])
