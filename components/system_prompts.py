"""The bench of system prompts in the Templates tab: one question, several directions, the instruct model's answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from components.context import Studio
from components.errors import shows_input_errors
from components.lesson import Lesson
from components.widgets.answers import answers_html
from pipelines.comparison import Answer
from pipelines.errors import InputError
from pipelines.messages import Message

# The first is what most people never set; the others ask for one thing each, in words the pair was not trained with.
PROMPTS = ("", "You are a friendly robot.", "Please talk like a pirate.", "You are a very polite butler.")
MAX_CHARACTERS = 2_000  # of a system prompt
MAX_TOKENS = 64  # of an answer
_REDRAW = 0.1  # seconds
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}


def draw_bench(studio: Studio, lesson: Lesson) -> None:
    """The components, wired."""
    gr.HTML(
        "<h4>System prompts, answered live</h4>"
        '<p class="quiet">The same question under each, to the instruct model in its own template. An empty one is '
        "left out of the conversation.</p>"
    )
    question = lesson.bind("prompt", gr.Textbox(lesson.default("prompt"), label="Question", max_length=MAX_CHARACTERS))
    with gr.Row(elem_classes="knobs"):
        typed = [
            gr.Textbox(prompt, label=f"System prompt {at}", lines=2, max_length=MAX_CHARACTERS, placeholder="none")
            for at, prompt in enumerate(PROMPTS, 1)
        ]
    with gr.Row(elem_classes="keep"):
        start = gr.Button("Ask under each", variant="primary", size="sm", scale=0, min_width=150)
        stop = gr.Button("Stop", size="sm", scale=0, min_width=80)
    shown = gr.HTML("")
    run = start.click(answerer(studio), [question, *typed], [shown], show_progress="hidden", **_PRIVATE)
    stop.click(None, None, None, cancels=[run], **_PRIVATE)


def answerer(studio: Studio) -> Callable[..., Iterator[str]]:
    """The handler that answers under one system prompt after the other."""

    @shows_input_errors
    def ask(question: str, *prompts: str) -> Iterator[str]:
        from pipelines.completion import Sampling, chat

        if not question.strip():
            raise InputError("is empty", "Question", "Ask something.")
        for at, prompt in enumerate(prompts, 1):
            if len(prompt) > MAX_CHARACTERS:
                raise InputError(
                    f"{len(prompt):,} characters", f"System prompt {at}", f"Use at most {MAX_CHARACTERS:,}."
                )
        titles = [f"“{prompt.strip()}”" if prompt.strip() else "No system prompt" for prompt in prompts]
        answers = [Answer("instruct", as_chat=True) for _ in prompts]
        notes = [""] * len(answers)
        drawn = 0.0
        for at, prompt in enumerate(prompts):
            system = [Message("system", prompt.strip())] if prompt.strip() else []
            try:
                for completion in chat(
                    studio.manager, [*system, Message("user", question)], "instruct", Sampling(MAX_TOKENS)
                ):
                    answers[at] = Answer("instruct", as_chat=True, completion=completion)
                    if time.monotonic() - drawn >= _REDRAW:
                        drawn = time.monotonic()
                        yield answers_html(titles, answers, notes)
            except InputError as error:
                # A template without a system role refuses one prompt; the others are still answered.
                answers[at] = Answer("instruct", as_chat=True, error=str(error))
        yield answers_html(titles, answers, notes)

    return ask
