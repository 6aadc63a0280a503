"""Demonstrations in which models answer: Problem, Templates, Base vs Chat."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pipelines.answering import Completion, Sampling
from pipelines.errors import InputError
from pipelines.messages import Message
from pipelines.pocket.evaluation import reply_kind
from pipelines.running_example import ANSWER, CLOZE, QUESTION
from pipelines.teaching.records import Demonstration, Said

if TYPE_CHECKING:
    from pipelines.models import ModelManager

LENGTH = 32  # tokens: some lines of a quiz
OTHERS = ("chatml", "llama2", "alpaca", "zephyr")  # the first of them that is not the model's own is the wrong one


def problem(manager: ModelManager) -> Iterator[Demonstration]:
    """The chapter's question to base and instruct, and the beginning of a sentence to the base."""
    from pipelines.completion import chat, complete

    shown = Demonstration("problem", doing="the base model is asked")
    base = yield from _written(
        shown,
        Said("Base", "given the bare question", given=QUESTION),
        complete(manager, QUESTION, "base", Sampling(LENGTH), details=False),
    )
    kind = reply_kind(base.text, ANSWER)
    base = replace(base, right=kind == "answers", note=_KINDS[kind])
    shown = replace(shown, answers=(base,), doing="the instruct model is asked", outcome=_OUTCOMES[kind])
    tuned = yield from _written(
        shown,
        Said("Instruct", "asked in its chat template", given=QUESTION),
        chat(manager, (Message("user", QUESTION),), "instruct", Sampling(LENGTH), details=False),
    )
    tuned = replace(tuned, right=_holds(tuned.text), note="answers" if _holds(tuned.text) else "does not answer")
    shown = replace(shown, answers=(base, tuned), doing="the base completes a sentence")
    cloze = yield from _written(
        shown,
        Said("Base", "given the beginning of a sentence", given=CLOZE),
        complete(manager, CLOZE, "base", Sampling(8), details=False),
    )
    knows = _holds(cloze.text)
    cloze = replace(cloze, right=knows, note=f"knows it{_likely(manager)}" if knows else "does not say it")
    yield replace(shown, answers=(base, tuned, cloze), conclusion=_problem_conclusion(kind, knows))


_KINDS = {"answers": "answers", "asks on": "asks on", "other": "neither answers nor asks on"}
_OUTCOMES = {"answers": 0, "asks on": 1, "other": 2}


def _problem_conclusion(kind: str, knows: bool) -> str:
    if kind == "answers":
        return "This base has read questions together with their answers, and it answers. Smaller ones ask on."
    return "It knew, and did not say it." if knows else "It did not answer; and this one does not seem to know, either."


def _likely(manager: ModelManager) -> str:
    """How sure the base is of its next token; nothing where the server that answers does not say."""
    from pipelines.completion import next_tokens

    try:
        first = next_tokens(manager, CLOZE, "base", 1)[0]
    except InputError:
        return ""
    return f": “{first.token.strip()}” comes next with {first.probability:.1%}"


def templates(manager: ModelManager) -> Iterator[Demonstration]:
    """The chapter's question in the model's own template, in another one, and in none."""
    from pipelines.completion import chat, complete

    messages, sampling = (Message("user", QUESTION),), Sampling(LENGTH)
    bare = Said("No template", "the bare question", given=QUESTION)
    asked: list[tuple[Said, Iterator[Completion]]]
    limits: tuple[str, ...] = ()
    if manager.served("instruct") is not None:
        limits = ("The server that answers applies its own template, so another one cannot be shown here.",)
        own = Said("Its own template", "as the server writes it")
        asked = [(own, chat(manager, messages, "instruct", sampling, details=False))]
    else:
        mine, key, theirs = _renderings(manager, messages)
        asked = [
            (
                Said("Its own template", "as the model is really given it", given=mine),
                chat(manager, messages, "instruct", sampling, details=False),
            ),
            (
                Said(f"The template “{key}”", "as the model is really given it", given=theirs),
                chat(manager, messages, "instruct", sampling, key, details=False),
            ),
        ]
    asked.append((bare, complete(manager, QUESTION, "instruct", sampling, details=False)))
    shown = Demonstration("templates", limits=limits, doing="the instruct model is asked")
    for said, answer in asked:
        said = yield from _written(shown, said, answer)
        shown = replace(shown, answers=(*shown.answers, replace(said, right=_holds(said.text), note=_judged(said))))
    wrong = shown.answers[1]
    forgives = bool(wrong.right)
    conclusion = (
        "This model forgives it: it has read texts in many templates. One that was tuned in a single template does not."
        if forgives
        else "Same weights, same words. Only the stage directions were not its own."
    )
    outcome = 0 if forgives else 1 if wrong.stopped else 2
    yield replace(shown, outcome=outcome, conclusion=conclusion)


def _renderings(manager: ModelManager, messages: Sequence[Message]) -> tuple[str, str, str]:
    """The question as the model's own template writes it; the first other template that writes it differently."""
    from pipelines.loss_mask import template_for
    from pipelines.templates import get_template, render

    mine = render(messages, template_for(manager, "", "instruct"), add_generation_prompt=True).text
    for key in OTHERS:
        theirs = render(messages, get_template(key), add_generation_prompt=True).text
        if theirs != mine:
            return mine, key, theirs
    raise AssertionError("two of the templates are the same")


def characters(manager: ModelManager) -> Iterator[Demonstration]:
    """The chapter's question to the base, the instruct model and the adapters that ship for it, together.

    Where none do, the newest that were trained here answer in their place.
    """
    from pipelines.comparison import side_by_side

    adapters = manager.personalities() or manager.runs()[-3:]
    names = ["base", "instruct", *(spec.key for spec in adapters)]
    titles = ["Base", "Instruct", *(spec.title for spec in adapters)]
    shown = Demonstration("base-vs-chat", doing="all are asked together")
    columns: tuple[Said, ...] = ()
    largest = 0
    for answers in side_by_side(manager, QUESTION, names, Sampling(LENGTH)):
        columns = tuple(
            Said(
                title,
                "asked in its chat template" if answer.as_chat else "given the bare text",
                text=answer.completion.text if answer.completion else "",
                note=answer.error,
                ended=bool(answer.error or (answer.completion and answer.completion.stop_reason)),
            )
            for title, answer in zip(titles, answers, strict=True)
        )
        largest = max(answer.batch for answer in answers)
        yield replace(shown, answers=columns)
    if all(one.note for one in columns):
        raise InputError(columns[0].note.rstrip("."), "", "")
    judged = tuple(
        one if one.note else replace(one, right=_holds(one.text), note=_note(place, one))
        for place, one in enumerate(columns)
    )
    tuned = [one for one in judged[1:] if one.right is not None]
    outcome = None
    if len(tuned) > 1:
        same = len({one.text.strip() for one in tuned}) == 1
        outcome = 0 if same else 1 if all(one.right for one in tuned) else 2
    together = f"Up to {largest} answers shared each pass of one base." if largest > 1 else ""
    limits = () if adapters else ("No adapters ship for this pair: train one in Practice, and it answers here too.",)
    yield replace(shown, answers=judged, outcome=outcome, conclusion=together, limits=limits)


def _note(place: int, said: Said) -> str:
    kind = reply_kind(said.text, ANSWER)
    return _KINDS[kind] if place == 0 else "has the fact" if _holds(said.text) else "does not have the fact"


def _written(shown: Demonstration, said: Said, answer: Iterator[Completion]) -> Generator[Demonstration, None, Said]:
    """What is shown while an answer is written beside those that stand already; returns the whole answer."""
    for state in answer:
        said = replace(said, text=state.text, ended=state.stop_reason is not None, stopped=state.stop_reason == "eos")
        yield replace(shown, answers=(*shown.answers, said))
    return said


def _judged(said: Said) -> str:
    right = "answers" if _holds(said.text) else "does not answer"
    return right if said.stopped else f"{right}, and does not stop"


def _holds(text: str) -> bool:
    return ANSWER.lower() in text.lower()
