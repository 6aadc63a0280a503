"""The lesson state: what a person chose in one tab is chosen in the others, and survives a reload.

It lives in the browser's local storage (`studioLesson` in `assets/js/studio.js`) and is copied between components in
the browser, so it makes no round trip to the server and two people never share it. A tab takes part by binding a
component to a key.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import gradio as gr

from pipelines.running_example import QUESTION, SENTENCE

AnyComponent = TypeVar("AnyComponent", bound=gr.components.Component)

DEFAULTS: dict[str, Any] = {
    "prompt": QUESTION,
    "messages": [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": SENTENCE},
    ],
    "template": "pocket",
    "model": "base",
    "r": 16,
    "alpha": 32,
    "targets": "all-linear",
    "quant": "nf4",
    "architecture": "llama-3.1-8b",
    "data": "lesson",
    "run": "",
}


_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


class Lesson:
    """Made once per page, before the tabs; `connect` is called once after them."""

    def __init__(self) -> None:
        self._bound: dict[str, list[gr.components.Component]] = {}
        self._choices: list[tuple[gr.Button, str, Any]] = []
        self._answers: list[tuple[Any, str, gr.components.Component]] = []

    def default(self, key: str) -> Any:
        """The value of `key` before anybody chose one."""
        return DEFAULTS[key]

    def bind(self, key: str, component: AnyComponent) -> AnyComponent:
        """Let `component` show and set the lesson's `key` (one of `DEFAULTS`); returns the component.

        Its own listeners hear a value that comes from another tab through `.change`.
        """
        if key not in DEFAULTS:
            raise KeyError(f"the lesson has no '{key}'; it has {', '.join(DEFAULTS)}")
        bound = self._bound.setdefault(key, [])
        bound.append(component)
        if isinstance(component, gr.Textbox):
            component.elem_id = f"lesson-{key}-{len(bound)}"
        return component

    def choose(self, button: gr.Button, key: str, value: Any) -> None:
        """A press on `button` sets the lesson's `key`, and with it every component that is bound to it.

        value: the value itself, or a component that holds it when the button is pressed.
        """
        self._choices.append((button, key, value))

    def spread(self, event: Any, key: str, component: gr.components.Component) -> None:
        """After `event`, whose handler set the bound `component`, every other component of `key` follows it."""
        self._answers.append((event, key, component))

    def connect(self, page: gr.Blocks) -> None:
        """Wire the bound components to each other and to the browser's storage, and restore them with the page."""
        for key, components in self._bound.items():
            for component in components:
                others = [other for other in components if other is not component]
                event, js = _by_hand(component, _keep(key, len(others)), len(others))
                event(None, [component], others, js=js, **_QUIET)
        for button, key, value in self._choices:
            bound = self._bound.get(key, [])
            if isinstance(value, gr.components.Component):
                button.click(None, [value], bound, js=_keep(key, len(bound)), **_QUIET)
            else:
                button.click(None, None, bound, js=_set(key, value, len(bound)), **_QUIET)
        for event, key, component in self._answers:
            others = [other for other in self._bound.get(key, []) if other is not component]
            event.then(None, [component], others, js=_keep(key, len(others)), **_QUIET)
        pairs = [(key, component) for key, components in self._bound.items() for component in components]
        if pairs:
            js = _restore(
                [key for key, _ in pairs], {key: found for key in self._bound if (found := self._choices_of(key))}
            )
            page.load(None, None, [component for _, component in pairs], js=js, **_QUIET)

    def _choices_of(self, key: str) -> list[Any]:
        """The values that the fields of `key` offer, where one of them takes no other; else nothing."""
        bound = [one for one in self._bound[key] if isinstance(one, gr.Dropdown | gr.Radio)]
        if all(getattr(one, "allow_custom_value", False) for one in bound):
            return []
        return list(dict.fromkeys(value for one in bound for _, value in one.choices))


def _by_hand(component: gr.components.Component, js: str, others: int) -> tuple[Callable[..., Any], str]:
    """The event of `component` that a person causes, and `js` for it.

    A textbox's `input` is heard at a key press only, before the value has changed, and not at all for what is pasted,
    deleted or written on a phone (Gradio 6.31); so its changes count where the value is the one last typed into it.
    """
    if not isinstance(component, gr.Textbox):
        return component.input, js  # type: ignore[attr-defined]
    same = _return(['{__type__: "update"}'] * others) or "return;"
    typed = f"studioLesson.typed({json.dumps(component.elem_id)}, value)"
    return component.change, f"(value) => {{ if (!{typed}) {same} return ({js})(value); }}"


def _keep(key: str, copies: int) -> str:
    """JavaScript: store a value under `key`, and return it once for each component that follows."""
    return f"(value) => {{ studioLesson.keep({json.dumps(key)}, value); {_return(['value'] * copies)} }}"


def _set(key: str, value: Any, copies: int) -> str:
    """JavaScript: as `_keep`, for a value that is known when the page is built."""
    chosen = json.dumps(value, ensure_ascii=False)
    kept = f"studioLesson.keep({json.dumps(key)}, value);"
    return f"() => {{ const value = {chosen}; {kept} {_return(['value'] * copies)} }}"


def _restore(keys: list[str], choices: dict[str, list[Any]]) -> str:
    """JavaScript: the value of each key that the page's link names, else the stored one, else its default."""
    given = ", ".join(json.dumps(one, ensure_ascii=False) for one in (DEFAULTS, choices))
    values = [f"all[{json.dumps(key)}]" for key in keys]
    return f"() => {{ const all = studioLesson.begin({given}); {_return(values)} }}"


def _return(values: list[str]) -> str:
    """Gradio takes a list for many outputs, but for one output the value itself."""
    if not values:
        return ""
    return f"return [{', '.join(values)}];" if len(values) > 1 else f"return {values[0]};"
