"""Stage 1: the sentence that continues into a quiz, and beside it the one that is answered."""

from __future__ import annotations

from html import escape

from components.widgets.drawings.parts import Caption, count, figure, shortened
from pipelines.teaching.figures import QuizFigures

LINES = 8  # of the base; what it writes after them is more of the same
LINE, ANSWER = 90, 320  # characters


def quiz_html(figures: QuizFigures, where: str) -> str:
    """Two columns: a thread that runs on, line by line, and one that ends."""
    del where  # nothing in it needs an id
    begun, *lines = figures.continued.split("\n") or [""]
    lines = [line for line in lines if line.strip()][:LINES]
    cut = not figures.base_ended
    written = "".join(
        f'<li style="--n:{number}"><span class="quiz-dot"></span>{escape(shortened(line, LINE))}'
        f"{' …' if cut and number == len(lines) - 1 else ''}</li>"
        for number, line in enumerate(lines)
    )
    begun = (" " if begun[:1].isspace() else "") + shortened(begun, ANSWER)
    caption = Caption(
        "The same sentence, given to both.",
        f"{figures.base} goes on with it: {_asked_on(figures)}. {figures.instruct} takes it for a question"
        f"{', answers, and stops' if figures.instruct_ended else ' and answers'}.",
        f"Measured on the running pair as the page was opened: {figures.base} given the bare text, {figures.instruct} "
        "in its chat template, both always taking the likeliest token.",
    )
    body = (
        '<div class="quiz"><div class="quiz-side">'
        f'<p class="quiz-name"><b>{escape(figures.base)}</b> continues the text</p>'
        f'<p class="quiz-given">{escape(figures.question)}<span class="quiz-begun">{escape(begun)}</span></p>'
        f'<ol class="quiz-thread">{written}</ol>'
        f'<p class="quiz-end">{_end(figures.base_tokens, figures.base_ended)}</p></div>'
        '<div class="quiz-side is-answered">'
        f'<p class="quiz-name"><b>{escape(figures.instruct)}</b> answers</p>'
        f'<p class="quiz-given">{escape(figures.question)}</p>'
        f'<p class="quiz-answer">{escape(shortened(figures.answer, ANSWER))}</p>'
        f'<p class="quiz-end">{_end(figures.instruct_tokens, figures.instruct_ended)}</p></div></div>'
    )
    return figure("problem", body, caption)


def _asked_on(figures: QuizFigures) -> str:
    if figures.asked_on:
        return f"{count(figures.asked_on, 'more question')} within {count(figures.base_tokens, 'token')}"
    return f"{count(figures.base_tokens, 'token')} of text"


def _end(tokens: int, ended: bool) -> str:
    if ended:
        return f'<span class="quiz-stop"></span>stopped by itself after {count(tokens, "token")}'
    return f"cut off after {count(tokens, 'token')}: it would go on"
