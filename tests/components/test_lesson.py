from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from components.lesson import DEFAULTS, Lesson


def wired() -> tuple[list[dict[str, Any]], dict[str, gr.components.Component], Lesson]:
    """Two components of one key in two tabs, one of another key, and a button that chooses."""
    with gr.Blocks(analytics_enabled=False) as page:
        lesson = Lesson()
        parts = {
            "here": lesson.bind("prompt", gr.Textbox()),
            "there": lesson.bind("prompt", gr.Textbox()),
            "rank": lesson.bind("r", gr.Slider()),
            "chip": gr.Button("Hamlet"),
        }
        lesson.choose(parts["chip"], "prompt", 'Who wrote "Hamlet"?')
        lesson.connect()
    return page.config["dependencies"], parts, lesson


def heard(dependencies: list[dict[str, Any]], component: gr.components.Component, event: str) -> dict[str, Any]:
    return next(d for d in dependencies if (component._id, event) in [tuple(target) for target in d["targets"]])


def test_what_is_typed_goes_to_the_state_and_to_the_other_component_of_its_key() -> None:
    dependencies, parts, lesson = wired()
    event = heard(dependencies, parts["here"], "input")
    assert event["outputs"] == [lesson.state._id, parts["there"]._id]
    assert not event["backend_fn"]


def test_a_value_for_one_output_is_not_wrapped_in_a_list() -> None:
    dependencies, parts, _ = wired()
    assert 'return ({...state, ["r"]: value});' in heard(dependencies, parts["rank"], "input")["js"]
    assert 'return [{...state, ["prompt"]: value}, value];' in heard(dependencies, parts["here"], "input")["js"]


def test_a_choice_reaches_every_component_of_its_key_as_a_quoted_text() -> None:
    dependencies, parts, lesson = wired()
    event = heard(dependencies, parts["chip"], "click")
    assert event["outputs"] == [lesson.state._id, parts["here"]._id, parts["there"]._id]
    assert r'"Who wrote \"Hamlet\"?"' in event["js"]


def test_the_first_change_of_the_state_restores_every_bound_component() -> None:
    dependencies, parts, lesson = wired()
    event = heard(dependencies, lesson.state, "change")
    assert event["outputs"] == [parts["here"]._id, parts["there"]._id, parts["rank"]._id]
    assert event["js"].count('"prompt"') >= 2 and 'all["r"]' in event["js"]


def test_a_key_that_the_lesson_does_not_have_is_a_fault_at_build_time() -> None:
    with gr.Blocks(analytics_enabled=False), pytest.raises(KeyError, match="the lesson has no 'rank'"):
        Lesson().bind("rank", gr.Slider())


def test_the_defaults_can_be_stored_by_a_browser() -> None:
    assert {"prompt", "messages", "template", "model", "r", "alpha", "targets", "quant", "run"} <= set(DEFAULTS)
