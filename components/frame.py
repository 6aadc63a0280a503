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
from components.drawings import draw_place
from components.errors import as_text, shows_input_errors
from components.languages import said
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
# Told first of all that hear it, who then know which tab is open; the address always names it.
_OPENED = "() => studioTab.opened(%s)"
# Asks for the outputs past Gradio's event queue (studio.js says why); the last one is what was wrong with the inputs.
_ASK = "(...values) => studioFollow(%d, %s, values, %d, %s)"
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
    _wrong: gr.Textbox | None = None

    def section(self, verb: str) -> None:
        """The heading of one of the four verbs."""
        gr.HTML(f'<h3 class="verb">{said(verb)}</h3>', elem_classes="verb-row")

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
        concurrency_limit: of a handler that is asked by way of the queue
        """
        triggers = [self.tab.select, *(component.change for component in inputs if hasattr(component, "change"))]
        if any(isinstance(component, gr.State) for component in inputs):
            # Only the queue knows whose state it is; and it changes by what is done in this tab alone.
            answer = _or_nothing(handler) if quiet else shows_input_errors(handler)
            options: dict[str, Any] = {**_QUIET, "concurrency_limit": concurrency_limit}
            gr.on(triggers, answer, list(inputs), list(outputs), **options)
            return
        answer, filled = (
            (_or_nothing(handler), outputs)
            if quiet
            else (_with_fault(handler, len(outputs)), [*outputs, self._fault()])
        )
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        # Heard by nothing: it gives the handler a number to be asked by.
        asked = gr.on([], answer, list(inputs), list(filled), queue=False, **private)
        js = _ASK % (asked["id"], json.dumps(self.key), len(filled), json.dumps(not quiet))
        gr.on(triggers, None, list(inputs), list(filled), js=js, **private)

    def _fault(self) -> gr.Textbox:
        """What is wrong with the inputs of this tab, told by way of the queue: only an error raised there is shown."""
        if self._wrong is None:
            self._wrong = gr.Textbox(visible=False)
            self._wrong.change(_say, [self._wrong], None, **_QUIET)
        return self._wrong

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
        js = _LOOK % (asked["id"], json.dumps(self.key), len(outputs) + 1, len(outputs) + 1)
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


def _say(wrong: str) -> None:
    """Raise what a follower has found wrong, if anything."""
    if wrong:
        raise gr.Error(as_text(wrong), print_exception=False)


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
    """The tab of stage `key`: Explain is drawn at its top, with the place of its drawing; the with-block is Play."""
    this = stage(key)
    with gr.Tab(this.title, id=this.key, elem_id=f"stage-{this.key}", elem_classes="stage") as tab:
        tab.select(None, None, None, js=_OPENED % json.dumps(key), api_visibility="private")
        frame = StageFrame(tab, key)
        gr.HTML(
            f'<h2 class="step"><span class="of">Step {this.number} / {len(STAGES)} · </span>{this.title}</h2>'
            f'<p class="step-link"><button type="button" data-link="{this.key}">{said("Copy link")}</button>'
            '<span role="status"></span></p>',
            elem_classes="step-row",
        )
        frame.section("Explain")
        gr.Markdown(this.explain, elem_classes="explain")
        draw_place(key)
        frame.section("Play")
        yield frame
