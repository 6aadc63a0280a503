from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from components.lesson import DEFAULTS, Lesson


def wired() -> tuple[list[dict[str, Any]], dict[str, gr.components.Component]]:
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
        lesson.connect(page)
    return page.config["dependencies"], parts


def heard(dependencies: list[dict[str, Any]], component: gr.components.Component, event: str) -> dict[str, Any]:
    return next(d for d in dependencies if (component._id, event) in [tuple(target) for target in d["targets"]])


def test_what_is_typed_is_kept_and_goes_to_the_other_component_of_its_key() -> None:
    dependencies, parts = wired()
    event = heard(dependencies, parts["here"], "change")
    assert event["outputs"] == [parts["there"]._id]
    assert '(value) => { studioLesson.keep("prompt", value); return value; }' in event["js"]
    assert 'studioLesson.typed("lesson-prompt-1", value)' in event["js"] and parts["here"].elem_id == "lesson-prompt-1"
    assert not event["backend_fn"]


def test_what_has_no_other_component_is_only_kept() -> None:
    dependencies, parts = wired()
    event = heard(dependencies, parts["rank"], "input")
    assert event["outputs"] == []
    assert "return" not in event["js"] and 'keep("r", value)' in event["js"]


def test_a_choice_reaches_every_component_of_its_key_as_a_quoted_text() -> None:
    dependencies, parts = wired()
    event = heard(dependencies, parts["chip"], "click")
    assert event["outputs"] == [parts["here"]._id, parts["there"]._id]
    assert r'"Who wrote \"Hamlet\"?"' in event["js"]
    assert event["js"].endswith("return [value, value]; }")


def test_the_page_restores_every_bound_component_when_it_opens() -> None:
    dependencies, parts = wired()
    event = next(d for d in dependencies if d["targets"][0][1] == "load")
    assert event["outputs"] == [parts["here"]._id, parts["there"]._id, parts["rank"]._id]
    assert event["js"].endswith('return [all["prompt"], all["prompt"], all["r"]]; }')


def test_the_page_takes_no_value_from_a_link_that_no_field_offers() -> None:
    with gr.Blocks(analytics_enabled=False) as page:
        lesson = Lesson()
        lesson.bind("template", gr.Dropdown([("Pocket", "pocket"), ("ChatML", "chatml")]))
        lesson.bind("template", gr.Dropdown(["pocket", "own"]))
        lesson.bind("targets", gr.Dropdown(["q,v"], allow_custom_value=True))
        lesson.connect(page)
    event = next(d for d in page.config["dependencies"] if d["targets"][0][1] == "load")
    assert ', {"template": ["pocket", "chatml", "own"]}); return' in event["js"]


def test_a_key_that_the_lesson_does_not_have_is_a_fault_at_build_time() -> None:
    with gr.Blocks(analytics_enabled=False), pytest.raises(KeyError, match="the lesson has no 'rank'"):
        Lesson().bind("rank", gr.Slider())


def test_the_defaults_can_be_stored_by_a_browser() -> None:
    assert {"prompt", "messages", "template", "model", "r", "alpha", "targets", "quant", "run"} <= set(DEFAULTS)
