"""Each warning on a template that has the trap and one that has not: all found by rendering, none by name."""

from __future__ import annotations

import pytest

from pipelines.messages import Message, parse_messages
from pipelines.templates import TemplateEntry, catalogue, get_template, render
from pipelines.templates.warnings import warnings_for, warnings_of
from tests.pipelines.templates.conversations import CONVERSATIONS


def keys(template: str) -> set[str]:
    return {warning.key for warning in warnings_of(get_template(template))}


@pytest.mark.parametrize(
    "warning, having, free",
    [
        ("system-dropped", ["mistral-v0.3", "mistral-nemo"], ["chatml", "llama3", "gemma3"]),
        ("default-system", ["qwen2.5", "smollm2", "llama3.1", "llama3.2"], ["chatml", "qwen3", "llama3", "zephyr"]),
        ("date", ["llama3.2", "smollm3", "gpt-oss"], ["llama3.1", "chatml", "qwen3"]),
        ("role-refused", ["gemma", "mistral-v0.1", "mistral-v0.2", "llama2"], ["chatml", "qwen3", "llama3"]),
        ("double-bos", ["llama3", "gemma", "pocket", "olmo2"], ["chatml", "qwen3", "smollm2"]),
        ("prefix", ["phi3", "phi3.5", "qwen3", "deepseek-r1-distill"], ["chatml", "llama3", "zephyr"]),
        ("no-stop-token", ["glm4-moe"], ["chatml", "llama2", "vicuna"]),
    ],
)
def test_a_trap_is_found_where_it_is_and_only_there(warning: str, having: list[str], free: list[str]) -> None:
    assert [key for key in having if warning in keys(key)] == having
    assert [key for key in free if warning in keys(key)] == []


CHATML = get_template("chatml").jinja


def test_a_template_never_seen_before_is_examined_too() -> None:
    jinja = (
        "{{ '<s>' }}Today is {{ strftime_now('%d %B') }}, and you are a very helpful assistant indeed. "
        "{% for m in messages if m.role != 'system' %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    )
    found = {w.key: w.detail for w in warnings_of(TemplateEntry("x", "x", (), jinja, {"bos_token": "<s>"}))}
    assert set(found) == {
        "system-dropped", "default-system", "date", "double-bos", "generation-prompt", "no-stop-token"
    }  # fmt: skip
    assert "you are a very helpful assistant" in found["default-system"]
    assert "“[assistant]”" in found["generation-prompt"]


def test_a_refusal_is_quoted_in_the_template_s_words() -> None:
    refused = next(w for w in warnings_of(get_template("gemma")) if w.key == "role-refused")
    assert "It refuses a system message: “System role not supported”." in refused.detail


def test_content_that_forges_control_tokens_is_named() -> None:
    messages = parse_messages(CONVERSATIONS["ChatML inside"])
    forged = warnings_for(messages, render(messages, get_template("chatml")))
    assert [w.key for w in forged] == ["forged-control"]
    assert "Message 1 says “<|im_end|>”" in forged[0].detail
    assert warnings_for(messages, render(messages, get_template("gemma"))) == ()


def test_messages_and_tool_calls_that_do_not_show_are_named() -> None:
    messages = parse_messages(CONVERSATIONS["system and two turns"])
    dropped = warnings_for(messages, render(messages, get_template("mistral-v0.3")))
    assert [w.key for w in dropped] == ["message-dropped"]
    assert "1 (system)" in dropped[0].detail
    tools = parse_messages(CONVERSATIONS["tool call with words"])
    assert [w.key for w in warnings_for(tools, render(tools, get_template("chatml")))] == ["tools-dropped"]
    assert warnings_for(tools, render(tools, get_template("qwen3"))) == ()


def test_the_index_says_of_system_and_tools_what_rendering_shows() -> None:
    for entry in catalogue():
        chat = (Message("system", "Qsystemq"), Message("user", "u"))
        try:
            shows = "Qsystemq" in render(chat, entry).text
        except ValueError:
            shows = False
        assert entry.supports_system == shows, entry.key
