"""What the drawings of text show, measured on the running pair: the quiz, the mask, the screenplay.

Each is one short answer or one forward pass. What a pair at an endpoint cannot give is left out, and `missing` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.answering import Completion, Sampling
from pipelines.errors import InputError
from pipelines.loss_mask import LossMask, MaskedToken, loss_mask, template_for
from pipelines.messages import Message
from pipelines.models import ModelManager
from pipelines.running_example import QUESTION, SENTENCE
from pipelines.templates import Rendered, TemplateEntry, render

DIRECTION = "You are a pirate."
NEXT_QUESTION = "Who wrote Hamlet?"
WRITTEN = 64  # new tokens at most: some eight more questions


@dataclass(frozen=True, slots=True)
class QuizFigures:
    """One question to both models of the pair, greedily. continued: what the base wrote, as it stands.

    asked_on: lines of it that are questions; base_ended, instruct_ended: whether a model stopped by itself
    """

    question: str
    base: str
    continued: str
    base_tokens: int
    base_ended: bool
    instruct: str
    answer: str
    instruct_tokens: int
    instruct_ended: bool

    @property
    def asked_on(self) -> int:
        return sum("?" in line for line in self.continued.splitlines())


@dataclass(frozen=True, slots=True)
class MaskFigures:
    """One rendered conversation with what the base loses on each token, which is where SFT begins.

    before, before_all: mean loss of the base over the supervised tokens, and over all; None without weights
    after:              mean loss of the instruct model over the supervised tokens
    missing:            a sentence where the losses cannot be had
    """

    base: str
    instruct: str
    tokens: tuple[MaskedToken, ...]
    before: float | None = None
    before_all: float | None = None
    after: float | None = None
    missing: str = ""

    @property
    def supervised(self) -> int:
        return sum(token.supervised for token in self.tokens)


@dataclass(frozen=True, slots=True)
class Line:
    """A stretch of the screenplay. role: whose turn; control: written by the template, else said by the role."""

    role: str
    control: bool
    text: str


@dataclass(frozen=True, slots=True)
class ScreenplayFigures:
    """A conversation as the pair's own template renders it, up to the point where the model is to write.

    lines:    joined, their texts are the rendering
    answered: whether the first answer in it is the instruct model's own
    note:     what the template made necessary, or what could not be had; a sentence, or empty
    """

    model: str
    lines: tuple[Line, ...]
    answered: bool
    note: str = ""

    @property
    def text(self) -> str:
        return "".join(line.text for line in self.lines)


def quiz(manager: ModelManager) -> QuizFigures:
    """Ask both models. Raises InputError when one cannot answer."""
    from pipelines.completion import complete

    sampling = Sampling(WRITTEN)
    *_, base = complete(manager, QUESTION, "base", sampling, details=False)
    instruct = _answer(manager, [Message("user", QUESTION)])
    pair = manager.pair
    return QuizFigures(
        question=QUESTION,
        base=pair.base.title,
        continued=base.text,
        base_tokens=base.new_tokens,
        base_ended=base.stop_reason == "eos",
        instruct=pair.instruct.title,
        answer=instruct.text.strip(),
        instruct_tokens=instruct.new_tokens,
        instruct_ended=instruct.stop_reason == "eos",
    )


def mask(manager: ModelManager) -> MaskFigures:
    """Label the lesson's conversation and, where the weights are here, look at what both models lose on it.

    Raises InputError when not even the tokenizer can be had."""
    conversation = [Message("user", QUESTION), Message("assistant", SENTENCE)]
    template = template_for(manager, "", "instruct")

    def of(model: str, losses: bool = True) -> LossMask:
        return loss_mask(manager, conversation, template, model, losses=losses)

    pair = manager.pair
    if why := manager.no_weights("base"):
        return MaskFigures(
            pair.base.title, pair.instruct.title, of("instruct", False).tokens, missing=f"No losses: {why}."
        )
    before, after = of("base"), of("instruct")
    return MaskFigures(
        pair.base.title,
        pair.instruct.title,
        before.tokens,
        before.loss_supervised,
        before.loss_all,
        after.loss_supervised,
    )


def screenplay(manager: ModelManager) -> ScreenplayFigures:
    """Render a direction, a question with the model's answer, and the cue for the next one.

    Raises InputError when the pair's template cannot be had."""
    template = template_for(manager, "", "instruct")
    opening = [Message("system", DIRECTION), Message("user", QUESTION)]
    note = ""
    try:
        rendered = _rendered(opening, template)
        if DIRECTION not in rendered.text:
            note = "This template drops the system prompt."
    except InputError:
        opening, note = opening[1:], "This template refuses a system prompt, so there is none."
        rendered = _rendered(opening, template)
    try:
        answer, answered = _answer(manager, opening).text.strip(), True
    except InputError as error:
        answer, answered = SENTENCE, False
        note = f"{note} The answer is ours: {error.what}.".strip()
    if answer:
        rendered = _rendered([*opening, Message("assistant", answer), Message("user", NEXT_QUESTION)], template)
    lines = tuple(
        Line(span.role, span.kind == "control", rendered.text[span.start : span.end]) for span in rendered.spans
    )
    return ScreenplayFigures(manager.pair.instruct.title, lines, answered, note)


def _rendered(messages: Sequence[Message], template: TemplateEntry) -> Rendered:
    return render(messages, template, add_generation_prompt=True)


def _answer(manager: ModelManager, messages: Sequence[Message]) -> Completion:
    from pipelines.completion import chat

    *_, last = chat(manager, messages, "instruct", Sampling(WRITTEN), details=False)
    return last
