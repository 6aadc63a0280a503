"""The lesson state: what a person chose in one tab is chosen in the others, and survives a reload.

It lives in the browser's local storage and is copied between components in the browser, so it makes no
round trip to the server and two people never share it. A tab takes part by binding a component to a key.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import gradio as gr

AnyComponent = TypeVar("AnyComponent", bound=gr.components.Component)

DEFAULTS: dict[str, Any] = {
    "prompt": "What is the capital of France?",
    "messages": [
        {"role": "user", "content": "What is the capital of France?"},
        {"role": "assistant", "content": "The capital of France is Paris."},
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


class Lesson:
    """Made once per page, before the tabs; `connect` is called once after them."""

    def __init__(self) -> None:
        # The text is not secret, it only has to be readable again after a restart of the studio.
        self.state = gr.BrowserState(DEFAULTS, storage_key="fine-tuning-studio", secret="fine-tuning-studio")
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
        self._bound.setdefault(key, []).append(component)
        return component

    def choose(self, button: gr.Button, key: str, value: Any) -> None:
        """A press on `button` sets the lesson's `key`, and with it every component that is bound to it.

        value: the value itself, or a component that holds it when the button is pressed.
        """
        self._choices.append((button, key, value))

    def spread(self, event: Any, key: str, component: gr.components.Component) -> None:
        """After `event`, whose handler set the bound `component`, every other component of `key` follows it."""
        self._answers.append((event, key, component))

    def connect(self) -> None:
        """Wire the bound components to each other and to the browser's storage."""
        for key, components in self._bound.items():
            for component in components:
                others = [other for other in components if other is not component]
                component.input(  # type: ignore[attr-defined]
                    None,
                    [component, self.state],
                    [self.state, *others],
                    js=_spread(key, len(others)),
                    show_progress="hidden",
                    api_visibility="private",
                )
        for button, key, value in self._choices:
            bound = self._bound.get(key, [])
            held = isinstance(value, gr.components.Component)
            button.click(
                None,
                [value, self.state] if held else [self.state],
                [self.state, *bound],
                js=_spread(key, len(bound)) if held else _set(key, value, len(bound)),
                show_progress="hidden",
                api_visibility="private",
            )
        for event, key, component in self._answers:
            others = [other for other in self._bound.get(key, []) if other is not component]
            event.then(
                None,
                [component, self.state],
                [self.state, *others],
                js=_spread(key, len(others)),
                show_progress="hidden",
                api_visibility="private",
            )
        pairs = [(key, component) for key, components in self._bound.items() for component in components]
        if pairs:
            self.state.change(
                None,
                [self.state],
                [component for _, component in pairs],
                js=_restore([key for key, _ in pairs]),
                show_progress="hidden",
                api_visibility="private",
            )


# The stored state arrives when the browser has read its storage: after the page's own load event, and after a first
# change that carries the default. So every change restores until a person has touched one of these components.
_MINE = "globalThis.lessonTouched = true"


def _spread(key: str, others: int) -> str:
    """JavaScript: the state with `key` replaced, and the value once for each other component."""
    name = json.dumps(key)
    return f"(value, state) => {{ {_MINE}; return {_values(f'{{...state, [{name}]: value}}', 'value', others)}; }}"


def _set(key: str, value: Any, bound: int) -> str:
    """JavaScript: as `_spread`, for a value that is known when the page is built."""
    name, chosen = json.dumps(key), json.dumps(value, ensure_ascii=False)
    return f"(state) => {{ {_MINE}; return {_values(f'{{...state, [{name}]: {chosen}}}', chosen, bound)}; }}"


def _restore(keys: list[str]) -> str:
    """JavaScript: the stored value of each key, or its default where an older studio had none."""
    defaults = json.dumps(DEFAULTS, ensure_ascii=False)
    kept = _many(['{__type__: "update"}'] * len(keys))
    values = _many([f"all[{json.dumps(key)}]" for key in keys])
    return (
        f"(state) => {{ if (globalThis.lessonTouched) return {kept}; "
        f"const all = {{...{defaults}, ...state}}; return {values}; }}"
    )


def _values(state: str, value: str, copies: int) -> str:
    return _many([state, *[value] * copies])


def _many(values: list[str]) -> str:
    """Gradio takes a list for many outputs, but for one output the value itself."""
    return f"[{', '.join(values)}]" if len(values) > 1 else f"({values[0]})"
