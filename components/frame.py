"""The frame of every tab: the step, Explain, Play, Prove and Take home, each always in the same place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import gradio as gr

from components import beyond, prove
from components.context import Studio
from components.errors import shows_input_errors
from pipelines.errors import InputError
from pipelines.stages import STAGES, stage

_LANGUAGES = {
    ".py": "python",
    ".json": "json",
    ".jsonl": "json",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".sh": "shell",
}
_LANGUAGES |= {".jinja": "jinja2", ".md": "markdown"}

# The browser keeps the file: nothing a person made is written to the server's disk.
_DOWNLOAD = """(text) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text ?? ""], {type: "text/plain;charset=utf-8"}));
  link.download = %s;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}"""
# Asks for the outputs past Gradio's event queue (studio.js says why); the last one is what was wrong with the inputs.
_ASK = "(...values) => studioFollow(%d, %s, values, %d)"
# The same on a timer; a studio that is gone for a moment is asked again at the next tick.
_LOOK = """(seen) => studioFollow(%d, %s, [studioVisitor(), seen], %d)
  .catch(() => Array(%d).fill({__type__: "update"}))"""
_QUIET: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}


@dataclass(slots=True)
class StageFrame:
    """One tab while it is being built. `tab.select` is heard when a person opens it."""

    tab: gr.Tab
    key: str
    _parts: list[str] = field(default_factory=list)
    _ask: gr.Button | None = None

    def section(self, verb: str) -> None:
        """The heading of one of the four verbs."""
        gr.HTML(f'<h3 class="verb">{verb}</h3>', elem_classes="verb-row")

    def follow(
        self,
        handler: Callable[..., Any],
        inputs: Sequence[gr.components.Component],
        outputs: Sequence[gr.components.Component],
        *,
        quiet: bool = False,
        concurrency_limit: int | None = None,
    ) -> None:
        """`handler(*inputs)` fills `outputs` when the tab is opened, and when an input changes while it is open.

        A tab that is not open is left alone: fields that tabs share would have it compute what nobody sees, and
        complain of what was typed elsewhere.
        Changes are asked for without the visitor's session: an input whose choices are set after the page was built
        needs a State beside it, with which they go through the queue.
        quiet: on an InputError `outputs` stay as they are; for what another follower of these inputs says already.
        concurrency_limit: of the handler; without one nobody waits for another visitor's, as suits a calculator
        """
        options: dict[str, Any] = {**_QUIET, "concurrency_limit": concurrency_limit}
        answer = _or_nothing(handler) if quiet else shows_input_errors(handler)
        self.tab.select(answer, list(inputs), list(outputs), **options)
        changes = [component.change for component in inputs if hasattr(component, "change")]
        if not changes:
            return
        if any(isinstance(component, gr.State) for component in inputs):
            # Only the queue knows whose state it is; and it changes by what is done in this tab alone.
            gr.on(changes, answer, list(inputs), list(outputs), **options)
            return
        # A button that nobody sees gives the handler a number to be asked by.
        self._ask = self._ask or gr.Button(visible=False)
        wrong = gr.Textbox(visible=False)
        asked = self._ask.click(
            _with_fault(handler, len(outputs)), list(inputs), [*outputs, wrong], queue=False, api_visibility="private"
        )
        js = _ASK % (asked["id"], json.dumps(f"stage-{self.key}"), len(outputs) + 1)
        gr.on(changes, None, list(inputs), [*outputs, wrong], js=js, api_visibility="private", show_progress="hidden")
        if not quiet:
            wrong.change(_if_wrong(answer), [*inputs, wrong], list(outputs), **options)

    def poll(
        self,
        timer: gr.Timer,
        handler: Callable[[str, str], tuple[Any, ...]],
        seen: gr.Textbox,
        outputs: Sequence[gr.components.Component],
    ) -> None:
        """At each tick, while the tab is seen, `handler(visitor, seen)` fills `seen` and `outputs`, past the queue.

        visitor: a random id that this browser keeps; `seen` tells the handler what the page shows already
        """
        button, visitor = gr.Button(visible=False), gr.Textbox(visible=False)
        asked = button.click(handler, [visitor, seen], [seen, *outputs], queue=False, api_visibility="private")
        js = _LOOK % (asked["id"], json.dumps(f"stage-{self.key}"), len(outputs) + 1, len(outputs) + 1)
        timer.tick(None, [seen], [seen, *outputs], js=js, api_visibility="private", show_progress="hidden")

    def prove(self, studio: Studio) -> None:
        """The Prove block: the experiment of this stage, and those beyond it. Called between Play and `take_home`."""
        self.section("Prove")
        prove.draw(studio, self.key)
        beyond.draw(studio, self)

    def take_home(
        self,
        script: Callable[..., str],
        inputs: Sequence[gr.components.Component],
        filename: str,
        label: str = "Script",
        play_says: bool = False,
    ) -> gr.Code:
        """The Take home block: `script(*inputs)` shown as code, kept up to date, and saved as `filename`.

        May be called more than once; the heading is drawn once.
        play_says: Play follows the same inputs and says what is wrong with them, so this block does not.
        """
        if "Take home" not in self._parts:
            self._parts.append("Take home")
            self.section("Take home")
        with gr.Column(elem_classes="take-home"):
            code = gr.Code(
                language=_LANGUAGES.get(PurePath(filename).suffix),  # type: ignore[arg-type]
                label=f"{label} · {filename}",
                lines=4,
                max_lines=18,
                interactive=False,
                buttons=["copy"],
                elem_classes="take-home-code",
            )
            save = gr.Button(f"Download {filename}", size="sm", elem_classes="take-home-save")
        save.click(None, [code], None, js=_DOWNLOAD % json.dumps(filename), api_visibility="private")
        self.follow(script, inputs, [code], quiet=play_says, concurrency_limit=1)
        return code


def _with_fault(handler: Callable[..., Any], outputs: int) -> Callable[..., Any]:
    """The handler with one output more: what is wrong with the inputs, or nothing. The others then stay as they are."""

    def answer(*values: Any) -> tuple[Any, ...]:
        try:
            drawn = handler(*values)
        except InputError as error:
            return (*[gr.skip()] * outputs, str(error))
        return (*(drawn if outputs > 1 else (drawn,)), "")

    return answer


def _if_wrong(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler, asked again by way of the queue where the last value says that something is wrong: only an error
    that is raised there is shown in words."""

    def again(*values: Any) -> Any:
        *asked, wrong = values
        return handler(*asked) if wrong else gr.skip()

    return again


def _or_nothing(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler, leaving its outputs as they are where an input is wrong."""

    def answer(*values: Any) -> Any:
        try:
            return handler(*values)
        except InputError:
            return gr.skip()

    return answer


@contextmanager
def stage_frame(key: str) -> Iterator[StageFrame]:
    """The tab of stage `key`: Explain is drawn at its top, what the with-block creates is Play."""
    this = stage(key)
    with gr.Tab(this.title, id=this.key, elem_id=f"stage-{this.key}", elem_classes="stage") as tab:
        frame = StageFrame(tab, key)
        gr.HTML(
            f'<p class="step"><span class="of">Step {this.number} / {len(STAGES)} · </span>{this.title}</p>',
            elem_classes="step-row",
        )
        frame.section("Explain")
        gr.Markdown(this.explain, elem_classes="explain")
        frame.section("Play")
        yield frame
