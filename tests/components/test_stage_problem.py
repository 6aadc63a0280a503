from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import gradio as gr
import pytest

from components.context import Studio
from components.stage_problem import PANELS, Panel, asker, brancher, look, script_writer, show_cells

BASE_RAW, INSTRUCT_RAW, _, INSTRUCT_CHAT = PANELS
GREEDY = (0.0, 6, 0)  # temperature, length, seed
SENT = gr.EventData(None, None)


def last(studio: Studio, panel: Panel, prompt: str, crossed: bool = False, knobs: tuple = GREEDY) -> tuple:
    return list(asker(studio, panel, [])(prompt, crossed, *knobs, SENT))[-1]


def press(index: int) -> gr.EventData:
    return SimpleNamespace(index=index)  # type: ignore[return-value]


def test_a_panel_shows_the_prompt_the_answer_and_the_alternatives_of_its_first_token(tiny_studio: Studio) -> None:
    text, ending, bars, trail = last(tiny_studio, BASE_RAW, "The capital of")
    assert "The capital of" in text and text.count('role="button"') == 6
    assert "6 tokens" in ending and "First token" in bars and len(trail.tokens) == 6


def test_the_chat_panel_shows_the_template_around_the_prompt(tiny_studio: Studio) -> None:
    _, _, _, trail = last(tiny_studio, INSTRUCT_CHAT, "Hi")
    assert "".join(piece.text for piece in trail.given) == "<|bos|><|user|>Hi<|end|><|assistant|>"


def test_a_panel_that_is_not_shown_asks_nothing(tiny_studio: Studio) -> None:
    assert list(asker(tiny_studio, INSTRUCT_RAW, [])("Hi", False, *GREEDY, SENT)) == []
    assert list(asker(tiny_studio, INSTRUCT_RAW, [])("Hi", True, *GREEDY, SENT)) != []


def test_a_chip_asks_its_own_question_and_no_other_component_does(tiny_studio: Studio) -> None:
    chip, other = gr.Button("Good day", render=False), gr.Button("Tell me", render=False)
    ask = asker(tiny_studio, INSTRUCT_CHAT, [chip])
    for target, asked in ((chip, "Good day"), (other, "Hi"), (None, "Hi")):
        trail = list(ask("Hi", False, *GREEDY, gr.EventData(target, None)))[-1][3]
        assert "".join(piece.text for piece in trail.given) == f"<|bos|><|user|>{asked}<|end|><|assistant|>"


def test_an_empty_prompt_is_an_error_that_says_so(tiny_studio: Studio) -> None:
    with pytest.raises(gr.Error, match="prompt: is empty"):
        last(tiny_studio, BASE_RAW, "  ")


def test_pressing_a_token_shows_what_else_could_have_stood_there(tiny_studio: Studio) -> None:
    trail = last(tiny_studio, BASE_RAW, "The capital of")[3]
    text, bars, chosen = look(trail, press(2))
    assert chosen.chosen == 2 and "Token 3" in bars and 'aria-pressed="true"' in text


def test_a_branch_keeps_what_came_before_takes_the_alternative_and_goes_on(tiny_studio: Studio) -> None:
    trail = last(tiny_studio, BASE_RAW, "The capital of")[3]
    _, _, at_two = look(trail, press(2))
    other = at_two.tokens[2].alternatives[1]
    branched = list(brancher(tiny_studio, BASE_RAW)(at_two, *GREEDY, press(1)))[-1][3]
    assert branched.tokens[:2] == trail.tokens[:2]
    assert branched.tokens[2].id == other.id
    assert len(branched.tokens) == 6


def test_branching_on_the_taken_token_repeats_the_answer(tiny_studio: Studio) -> None:
    trail = last(tiny_studio, BASE_RAW, "The capital of")[3]
    again = list(brancher(tiny_studio, BASE_RAW)(trail, *GREEDY, press(0)))[-1][3]
    assert [token.id for token in again.tokens] == [token.id for token in trail.tokens]


def test_crossing_shows_all_four() -> None:
    assert [column.visible for column in show_cells(False)] == [True, False, False, True]
    assert all(column.visible for column in show_cells(True))


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_the_script_prints_what_the_page_shows(tiny_studio: Studio, temperature: float) -> None:
    knobs = (temperature, 6, 3)
    script = script_writer(tiny_studio)("The capital of", *knobs, False)
    pair = tiny_studio.manager.pair
    folder = pair.base.folder
    assert folder is not None
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=folder.parent, capture_output=True, text=True, check=True
    )
    for panel in (BASE_RAW, INSTRUCT_CHAT):
        trail = last(tiny_studio, panel, "The capital of", knobs=knobs)[3]
        tokenizer = tiny_studio.manager.tokenizer(panel.model)
        written = tokenizer.decode([token.id for token in trail.tokens], skip_special_tokens=True)
        assert written in found.stdout
