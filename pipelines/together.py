"""One question to several models, answered side by side; a base and its adapters share their passes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from pipelines.answering import Completion, Conversation, Prompt, Sampling, Text, Writing, checked_text, stopped
from pipelines.completion import Growing, request_of
from pipelines.errors import InputError
from pipelines.messages import Message
from pipelines.models import Cancelled, Lease, ModelManager, zero_gpu
from pipelines.models.engine import Request


@dataclass(frozen=True, slots=True)
class Ask:
    """What one model is asked. `as_chat`: through its chat template rather than as bare text."""

    model: str
    prompt: str
    as_chat: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """One column.

    error: a sentence, when there is no answer
    batch: how many answers were written in the same passes, itself included; 0 before it began
    """

    model: str
    as_chat: bool
    completion: Completion | None = None
    error: str = ""
    batch: int = 0


def _estimate(manager: ModelManager, asks: Sequence[Ask], sampling: Sampling, *_: object) -> float:
    """Seconds that ZeroGPU is asked for: the answers of one base share their passes, those of several take turns."""
    parameters = {spec.key: spec.parameters for spec in (manager.resolve(ask.model).weights for ask in asks)}
    return zero_gpu.answer_seconds(parameters.values(), sampling.checked().max_new_tokens * len(parameters))


def _all_stopped(answers: tuple[Answer, ...]) -> tuple[Answer, ...]:
    return tuple(
        answer if answer.completion is None else replace(answer, completion=stopped(answer.completion))
        for answer in answers
    )


@zero_gpu.on_gpu(_estimate, _all_stopped)
def answer_together(
    manager: ModelManager,
    asks: Sequence[Ask],
    sampling: Sampling,
    cancel: threading.Event | None = None,
) -> Iterator[tuple[Answer, ...]]:
    """Ask several models at once. Yields all answers whenever some have grown, the last time when all have ended.

    Models that share one base share their passes, apart from adapters that cannot (see `pipelines.models.mixture`).
    Each answer is what the model gives alone. A model that cannot answer says so and the others go on.
    """
    sampling = sampling.checked()
    answers = [Answer(ask.model, ask.as_chat) for ask in asks]
    with ExitStack() as held:
        asked: dict[int, tuple[Lease, Request]] = {}
        growing: dict[int, Writing] = {}
        for place, ask in enumerate(asks):
            try:
                if (served := manager.served(ask.model)) is not None:
                    growing[place] = served.write(_prompt(ask), sampling)
                    held.callback(growing[place].close)
                    continue
                lease = held.enter_context(manager.lease(ask.model, cancel=cancel))
                asked[place] = lease, request_of(lease, _prompt(ask), sampling)
            except InputError as error:
                answers[place] = replace(answers[place], error=str(error))
            except Cancelled:
                answers[place] = replace(answers[place], completion=Completion("", (), 0, 0.0, "cancelled"))
        yield tuple(answers)
        tickets = manager.engine.submit(list(asked.values())) if asked else []
        for place, ticket in zip(asked, tickets, strict=True):
            held.callback(ticket.close)
            growing[place] = Growing(*asked[place], ticket)
        while growing:
            if cancel is not None and cancel.is_set():
                for answer in growing.values():
                    answer.close()
            wait = None  # for the first of them; by then the others have grown as well
            for place, answer in list(growing.items()):
                answers[place] = _grown(answers[place], answer, wait)
                wait = 0.0
                if answers[place].error or answer.done:
                    del growing[place]
            yield tuple(answers)


def _prompt(ask: Ask) -> Prompt:
    return Conversation((Message("user", ask.prompt),)) if ask.as_chat else Text(checked_text(ask.prompt, "prompt"))


def _grown(answer: Answer, growing: Writing, wait: float | None) -> Answer:
    """The answer with what has come since."""
    try:
        changed = growing.take(wait)
    except InputError as error:
        return replace(answer, error=str(error))
    if growing.done:
        completion = growing.ended()
    elif changed:
        completion = growing.shown()
    else:
        return answer
    return replace(answer, completion=completion, batch=growing.shared)
