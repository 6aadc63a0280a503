"""Stage 7, Practice: fine-tuning, live. The page only reads a run's directory; the run does not need the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from components.context import Studio
from components.errors import shows_input_errors
from components.frame import stage_frame
from components.lesson import Lesson
from components.practice_form import Form, config_of, draw_form
from components.practice_saves import command_writer, draw_exports, script_writer
from components.visitors import visitor_of
from components.widgets.predictions import prediction_html
from components.widgets.runs import curves_html, samples_html, status_html
from pipelines.errors import InputError
from pipelines.finetune import RunView

LOOK = 0.5  # seconds between two looks at a run that is not finished
MAX_OVERLAID = 4
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_INVITATION = '<p class="quiet">Press Start: with the defaults the base model learns to answer in seconds.</p>'

# The address names the run that is shown, so that a link shows it to others; a link that names one wins over
# what this browser showed last.
_OPEN = """() => new URLSearchParams(location.search).get("run") || studioLesson.all().run || ''"""
_KEEP = """(run) => {
  const link = new URL(location.href);
  if (run) link.searchParams.set("run", run); else link.searchParams.delete("run");
  history.replaceState(history.state, "", link);
  studioLesson.keep("run", run || "");
}"""


# A run that was started on this page, which others of its scripts may count.
_BEGAN = (
    _KEEP.rstrip("}")
    + """  document.dispatchEvent(new CustomEvent("studio:run", {detail: {run}}));
}"""
)


def build(studio: Studio, lesson: Lesson) -> None:
    """Draw the tab."""
    with stage_frame("practice") as frame:
        form = draw_form(studio, lesson)
        predicted = gr.HTML("", elem_classes="run-predicted")
        with gr.Row(elem_classes="keep"):
            start = gr.Button("Start", variant="primary", elem_classes="run-start")
            stop = gr.Button("Stop", interactive=False, elem_classes="run-stop")
            resume = gr.Button("Resume", interactive=False, elem_classes="run-resume")
        status = gr.HTML(_INVITATION, elem_classes="run-status")
        with gr.Row():
            run = gr.Dropdown(
                [], value="", label="Run shown", info="past runs stay here; the address links to it",
                allow_custom_value=True, scale=2, elem_classes="run-shown",
            )  # fmt: skip
            over = gr.Dropdown([], value=[], multiselect=True, label="Drawn over it", max_choices=MAX_OVERLAID, scale=2)
            smoothing = gr.Slider(1, 20, 1, step=1, label="Smoothing", info="mean over so many steps", scale=1)
            log_y = gr.Checkbox(False, label="Logarithmic loss", scale=1)
        curves = gr.HTML("", elem_classes="run-curves-box")
        samples = gr.HTML("")
        timer = gr.Timer(LOOK, active=False)
        drawn = gr.State(())
        shown = [status, curves, samples, timer, stop, resume, drawn]
        looks = [run, over, smoothing, log_y, drawn]

        began = start.click(starter(studio), form.components(), [run], **_QUIET)
        again = resume.click(resumer(studio), [run], [run], **_QUIET)
        for event in (began, again):
            event.success(None, [run], None, js=_BEGAN, **_QUIET)
        stop.click(stopper(studio), [run], [status], **_QUIET)
        gr.on(
            [run.change, over.change, smoothing.change, log_y.change, timer.tick],
            shower(studio), looks, shown, trigger_mode="always_last", concurrency_limit=None, **_QUIET,
        )  # fmt: skip
        run.input(None, [run], None, js=_KEEP, **_QUIET)
        gr.on(None, None, None, [run], js=_OPEN, **_QUIET)
        gr.on([frame.tab.select, run.focus, over.focus], lister(studio), [run], [run, over], **_QUIET)

        # `run` too: what ended since may correct the prediction. Take home says what is wrong with the form.
        frame.follow(predicter(studio), [*form.components(), run], [predicted], quiet=True)
        frame.prove(studio)
        frame.take_home(script_writer(studio), form.components(), "train.py")
        commands = command_writer(studio)
        frame.take_home(commands, form.components(), "train.sh", "Several GPUs or machines", play_says=True)
        draw_exports(studio, run)


def starter(studio: Studio) -> Callable[..., Any]:
    """The handler of Start: the run is on its way when it returns."""

    @shows_input_errors
    def start(request: gr.Request | None, *values: Any) -> Any:
        run_id = studio.runs.start(config_of(Form.names(), values), visitor_of(request))
        return gr.Dropdown(choices=choices(studio), value=run_id)

    return start


def predicter(studio: Studio) -> Callable[..., str]:
    """The handler that says what the form as it stands would take; the last value is the run shown."""

    def predict(*values: Any) -> str:
        return prediction_html(studio.runs.predict(config_of(Form.names(), values[:-1])))

    return predict


def resumer(studio: Studio) -> Callable[..., Any]:
    """The handler of Resume: a new run that goes on from the last checkpoint of the one shown."""

    @shows_input_errors
    def resume(run_id: str, request: gr.Request | None = None) -> Any:
        resumed = studio.runs.start({"resume_from": run_id}, visitor_of(request))
        return gr.Dropdown(choices=choices(studio), value=resumed)

    return resume


def stopper(studio: Studio) -> Callable[..., Any]:
    """The handler of Stop; returns when the run has saved what it learned."""

    @shows_input_errors
    def stop(run_id: str) -> str:
        if not run_id:
            raise InputError("no run is shown", "Stop", "Start one, or choose one.")
        studio.runs.stop(run_id)
        return status_html(studio.runs.view(run_id))

    return stop


def shower(studio: Studio) -> Callable[..., tuple[Any, ...]]:
    """The handler that draws a run where it stands, and says whether to look again.

    What stands as it was last `drawn` is not sent again: a browser that redraws curves twice a second takes the cores
    that the run needs.
    """

    def show(
        run_id: str | None, over: list[str] | None, smoothing: int, log_y: bool, drawn: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        if not run_id:
            return (_INVITATION, "", "", *_halted(), ())
        try:
            view = studio.runs.view(run_id)
        except InputError:
            # A link to a run that was deleted, or of another studio: nothing the visitor did wrong.
            gone = '<p class="quiet">This run is not in this studio any more. Start one, or choose another.</p>'
            return (gone, "", "", *_halted(), ())
        others = _known(studio, [other for other in over or [] if other != run_id])
        curves = (
            run_id,
            [(one.run_id, one.step, len(one.heldout), len(one.evals)) for one in (view, *others)],
            smoothing,
            log_y,
        )
        samples = (run_id, len(view.samples))
        was = drawn or (None, None)
        return (
            status_html(view),
            gr.skip()
            if curves == was[0]
            else curves_html(view, others, smoothing=int(smoothing or 1), log_y=bool(log_y)),
            gr.skip() if samples == was[1] else samples_html(view),
            gr.Timer(active=not view.ended),
            gr.Button(interactive=not view.ended),
            gr.Button(interactive=view.status in ("stopped", "failed")),
            (curves, samples),
        )

    return show


def _halted() -> tuple[gr.Timer, gr.Button, gr.Button]:
    """No further look, nothing to stop, nothing to resume. Made when it is sent: while a page is built, a component
    that is made is also drawn."""
    return gr.Timer(active=False), gr.Button(interactive=False), gr.Button(interactive=False)


def lister(studio: Studio) -> Callable[..., tuple[Any, Any]]:
    """The handler that offers the runs there are now."""

    def offer(run_id: str | None) -> tuple[Any, Any]:
        found = choices(studio)
        return gr.Dropdown(choices=found), gr.Dropdown(choices=found)

    return offer


def choices(studio: Studio) -> list[tuple[str, str]]:
    """(title, id) of the runs, the newest first; how one ended where it has, since a title is not drawn again."""
    return [(f"{view.title} · {view.status}" if view.ended else view.title, view.run_id) for view in studio.runs.list()]


def _known(studio: Studio, run_ids: list[str]) -> list[RunView]:
    views = []
    for run_id in run_ids[:MAX_OVERLAID]:
        try:
            views.append(studio.runs.view(run_id))
        except InputError:
            continue
    return views
