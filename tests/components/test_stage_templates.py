from __future__ import annotations

import gradio as gr
import pytest

from components.context import Studio
from components.stage_templates import OWN, OWN_EXAMPLE, TOOLS_EXAMPLE, read_tools, take_script, take_template, viewer
from components.system_prompts import answerer
from pipelines.errors import InputError

ASKED = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
ATTACK = [{"role": "user", "content": "<img src=x onerror=alert(1)> ${1} {{value}}"}]


def view(
    studio: Studio,
    messages: list[dict[str, str]],
    *keys: str,
    jinja: str = "",
    tools: str = "",
    whitespace: bool = False,
    ids: bool = False,
) -> tuple[str, str, str, str]:
    three = (*keys, "", "", "")[:3]
    return viewer(studio)(messages, *three, jinja, tools, False, whitespace, ids, "1 and 2")


def test_each_column_shows_control_text_as_chips_and_words_in_their_role(tiny_studio: Studio) -> None:
    first, second, third, _ = view(tiny_studio, ASKED, "chatml", "llama3")
    assert "&lt;|im_start|&gt;user" in first and 'class="piece role-user"' in first
    assert "&lt;|eot_id|&gt;" in second and "double BOS" in second
    assert third == ""


@pytest.mark.parametrize("tools", ['[{"name"', "[" * 100_000])
def test_tools_that_are_no_json_are_refused(tools: str) -> None:
    with pytest.raises(InputError, match=r"tools: .*Write a JSON list") as refused:
        read_tools(tools)
    assert len(str(refused.value)) < 200


def test_the_difference_tells_which_characters_only_one_has(tiny_studio: Studio) -> None:
    difference = view(tiny_studio, ASKED, "chatml", "llama3")[3]
    assert "<del" in difference and "<ins" in difference and "only in ChatML" in difference
    assert "render the same characters" in view(tiny_studio, ASKED, "chatml", "chatml")[3]


def test_a_refusal_is_shown_in_its_column_and_the_others_stay(tiny_studio: Studio) -> None:
    system = [{"role": "system", "content": "S"}, *ASKED]
    first, second, _, difference = view(tiny_studio, system, "gemma", "chatml")
    assert "Refused." in first and "System role not supported" in first
    assert "&lt;|im_end|&gt;" in second
    assert "Choose two templates" in difference


def test_own_jinja_renders_and_its_errors_name_the_line(tiny_studio: Studio) -> None:
    assert "&lt;|user|&gt;" in view(tiny_studio, ASKED, OWN, jinja=OWN_EXAMPLE)[0]
    assert "line 2: Expected an expression" in view(tiny_studio, ASKED, OWN, jinja="a\n{% if %}")[0]


def test_nothing_that_was_typed_becomes_markup(tiny_studio: Studio) -> None:
    for html in view(tiny_studio, ATTACK, "chatml", OWN, jinja="<script>{{ messages[0].content }}</script>"):
        assert "<img" not in html and "<script" not in html


def test_ids_stand_under_the_tokens_of_the_running_pair(tiny_studio: Studio) -> None:
    tokenizer = tiny_studio.manager.tokenizer("instruct")
    first = view(tiny_studio, ASKED, "chatml", ids=True)[0]
    assert f"<small>{tokenizer('4', add_special_tokens=False)['input_ids'][0]}</small>" in first
    assert "tokens" in first


def test_whitespace_is_drawn_on_demand(tiny_studio: Studio) -> None:
    assert "↵" not in view(tiny_studio, ASKED, "chatml")[0]
    assert "↵" in view(tiny_studio, ASKED, "chatml", whitespace=True)[0]


def test_tools_reach_the_template_and_broken_json_names_its_line(tiny_studio: Studio) -> None:
    assert "weather" in view(tiny_studio, ASKED, "qwen3", tools=TOOLS_EXAMPLE)[0]
    with pytest.raises(InputError, match="tools: line 2"):
        view(tiny_studio, ASKED, "qwen3", tools="[\n{]")


@pytest.mark.parametrize("key", ["chatml", "llama3"])
def test_the_script_to_take_home_holds_its_own_test(key: str) -> None:
    made: dict[str, object] = {"__name__": "taken"}
    exec(compile(take_script(ASKED, key, "", "", True), "taken.py", "exec"), made)
    made["test_the_rendering_is_unchanged"]()  # type: ignore[operator]
    assert made["TEMPLATE"] == take_template(key, "")


def test_a_script_for_a_refused_conversation_is_the_refusal() -> None:
    assert "System role not supported" in take_script(
        [{"role": "system", "content": "S"}, *ASKED], "gemma", "", "", False
    )


def test_every_system_prompt_is_answered_and_an_empty_one_is_left_out(tiny_studio: Studio) -> None:
    shown = list(answerer(tiny_studio)("What is the capital of <b>France</b>?", "", "Be <i>short</i>."))[-1]
    assert shown.count('<section class="answer') == 2
    assert "No system prompt" in shown and "“Be &lt;i&gt;short&lt;/i&gt;.”" in shown
    assert "<i>" not in shown and 'aria-busy="true"' not in shown


@pytest.mark.parametrize("question, prompt, said", [(" ", "", "Question: "), ("Hi", "x" * 2_001, "System prompt 1")])
def test_what_cannot_be_asked_says_why(tiny_studio: Studio, question: str, prompt: str, said: str) -> None:
    with pytest.raises(gr.Error, match=said):
        next(answerer(tiny_studio)(question, prompt))
