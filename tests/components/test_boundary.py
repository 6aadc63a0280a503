"""What no page would send is refused in a sentence, and a mistake of ours is told without a word of its own."""

from __future__ import annotations

import json
import math
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from components.boundary import MAX_DEPTH, MAX_TEXT, Page, unreadable
from components.schemas import misfit


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 0


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (math.nan, "not a number"),
        ({"a": [1.0, -math.inf]}, "not a number"),
        (10**30, "too large"),
        ("x" * (MAX_TEXT + 1), "characters"),
        (nested(MAX_DEPTH + 1), "layers"),
    ],
)
def test_what_no_field_holds_is_said(value: Any, says: str) -> None:
    assert says in unreadable(value)


@pytest.mark.parametrize("value", [None, True, 2**62, -0.5, "", "x" * 1000, [{"role": "user"}], nested(MAX_DEPTH - 1)])
def test_what_a_field_may_hold_passes(value: Any) -> None:
    assert unreadable(value) == ""


@pytest.mark.parametrize(
    ("value", "schema", "says"),
    [
        ("5", {"type": "integer"}, "'5' is not a whole number"),
        (5.5, {"type": "integer"}, "5.5 is not a whole number"),
        (True, {"type": "integer"}, "True is not a whole number"),
        (None, {"type": "string"}, "None is not a text"),
        (1, {"type": "boolean"}, "1 is not true or false"),
        (["a", 3], {"type": "array", "items": {"type": "string"}}, "number 2: 3 is not a text"),
        ("x", {"oneOf": [{"type": "null"}, {"type": "array"}]}, "'x' is not a list"),
        ("x" * 100, {"type": "object"}, "is not an object"),
    ],
)
def test_a_value_of_another_type_than_described_is_named(value: Any, schema: dict[str, Any], says: str) -> None:
    assert says in misfit(value, schema)
    assert len(misfit(value, schema)) < 100


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (16.0, {"type": "integer"}),
        (3, {"type": "number"}),
        (None, {"oneOf": [{"type": "null"}, {"type": "array"}]}),
        ([{}], {"type": "array", "items": {"type": "object", "additionalProperties": {}}}),
        ("anything", {}),
    ],
)
def test_a_value_of_its_type_passes(value: Any, schema: dict[str, Any]) -> None:
    assert misfit(value, schema) == ""


@pytest.mark.parametrize(
    ("endpoint", "arguments", "says"),
    [
        ("/lora", {"model": ["llama-3.1-8b"]}, "model: .* is not a text"),
        ("/lora", {"model": "llama-3.1-8b", "r": "many"}, "r: 'many' is not a whole number"),
        ("/complete", {"prompt": 5}, "prompt: 5 is not a text"),
        ("/render", {"messages": "hi", "template": "chatml"}, "messages: 'hi' is not a list"),
        ("/loss_mask", {"messages": ["hi"]}, "messages: number 1: 'hi' is not an object"),
        ("/finetune", {"config": []}, r"config: \[\] is not an object"),
        ("/memory", {"model": "llama-3.1-8b", "double_quant": "yes"}, "double_quant: 'yes' is not true or false"),
    ],
)
def test_an_endpoint_names_the_argument(client: Client, endpoint: str, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(AppError, match=says):
        client.predict(**arguments, api_name=endpoint)


@pytest.fixture
def broken() -> Any:
    """A page whose handler makes a mistake over what it was given."""

    def fail(text: str, other: Any) -> str:
        raise KeyError(text)

    with Page(analytics_enabled=False) as page:
        text = gr.Textbox(label="Text")
        others = {
            "fail": gr.Number(label="How many"),
            "slider": gr.Slider(label="Share"),
            "one": gr.Dropdown(["a", "b"], value="a", label="One"),
            "any": gr.Dropdown(["a", "b"], value=None, label="Any"),
            "radio": gr.Radio(["a", "b"], value="a", label="Way"),
            "some": gr.Dropdown(["a", "b"], multiselect=True, label="Some"),
        }
        for name, other in others.items():
            gr.Button(name).click(fail, [text, other], [text], api_name=name, queue=False)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, show_error=True)
    yield url.rstrip("/")
    page.close()


def test_a_mistake_of_ours_is_noted_without_what_was_typed(broken: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AppError, match="The studio made a mistake here"):
        Client(broken, verbose=False).predict("my secret", 1, api_name="/fail")
    logged = capfd.readouterr().err
    assert "my secret" not in logged and "Traceback" not in logged
    note = next(json.loads(line) for line in logged.splitlines() if line.startswith("{"))
    assert (note["event"], note["kind"], note["doing"]) == ("fault", "KeyError", "fail")
    assert any(place.startswith("tests/components/test_boundary.py:") for place in note["way"])


def test_what_the_page_shows_of_it_is_no_markup(broken: str) -> None:
    with pytest.raises(AppError, match=r"How many: '&lt;img src=x&gt;' is not a number"):
        Client(broken, verbose=False).predict("a", "<img src=x>", api_name="/fail")


@pytest.mark.parametrize("number", ["many", [1], {"a": 1}])
def test_a_value_that_a_field_cannot_hold_is_a_sentence(broken: str, number: Any) -> None:
    with pytest.raises(AppError, match=r"How many: .* is not a number"):
        Client(broken, verbose=False).predict("a", number, api_name="/fail")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("slider", None, "Share: nothing is chosen"),  # as Gradio's page sends it while another number is typed
        ("one", None, "One: nothing is chosen"),
        ("radio", None, "Way: nothing is chosen"),
        ("any", None, "The studio made a mistake here"),  # the handler's
        ("some", None, "The studio made a mistake here"),
        ("some", 5, "Some: 5 is not a list of choices"),
    ],
)
def test_an_empty_choice_reaches_those_who_may_have_none(broken: str, name: str, value: Any, says: str) -> None:
    with pytest.raises(AppError, match=says):
        Client(broken, verbose=False).predict("a", value, api_name=f"/{name}")


def test_nan_is_refused_by_the_name_of_its_field(broken: str) -> None:
    asked = '{"data": ["a", NaN], "fn_index": 0, "session_hash": "s"}'
    told = httpx.post(f"{broken}/gradio_api/run/predict", content=asked, headers={"Content-Type": "application/json"})
    assert "How many: nan is not a number." in told.text
