"""One question to several models, answered side by side; a base and its adapters share their passes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from pipelines.completion import (
    NO_IDS,
    Completion,
    Growing,
    Sampling,
    chat_ids,
    prompt_ids,
    request_for,
    stopped,
    turn_end_ids,
)
from pipelines.errors import InputError
from pipelines.messages import Message
from pipelines.models import Cancelled, Lease, ModelManager, zero_gpu
from pipelines.models.engine import Request, Ticket


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
        for place, ask in enumerate(asks):
            try:
                lease = held.enter_context(manager.lease(ask.model, cancel=cancel))
                asked[place] = lease, _request(lease, ask, sampling)
            except InputError as error:
                answers[place] = replace(answers[place], error=str(error))
            except Cancelled:
                answers[place] = replace(answers[place], completion=Completion("", (), 0, 0.0, "cancelled"))
        yield tuple(answers)
        tickets = dict(zip(asked, manager.engine.submit(list(asked.values())), strict=True))
        for ticket in tickets.values():
            held.callback(ticket.close)
        growing = {place: Growing(*asked[place]) for place in tickets}
        while growing:
            if cancel is not None and cancel.is_set():
                for place in growing:
                    tickets[place].close()
            wait = None  # for the first of them; by then the others have grown as well
            for place, answer in list(growing.items()):
                answers[place] = _grown(answers[place], answer, tickets[place], wait)
                wait = 0.0
                if answers[place].error or tickets[place].done:
                    del growing[place]
            yield tuple(answers)


def _request(lease: Lease, ask: Ask, sampling: Sampling) -> Request:
    if ask.as_chat:
        ids, ends = chat_ids(lease, (Message("user", ask.prompt),)), turn_end_ids(lease)
    else:
        ids, ends = prompt_ids(lease, ask.prompt), NO_IDS
    return request_for(ids, lease.eos_ids | ends, sampling)


def _grown(answer: Answer, growing: Growing, ticket: Ticket, wait: float | None) -> Answer:
    """The answer with what has come since."""
    try:
        changed = growing.take(ticket, wait)
    except InputError as error:
        return replace(answer, error=str(error))
    if ticket.done:
        completion = growing.ended(ticket.reason or "length")
    elif changed:
        completion = growing.shown()
    else:
        return answer
    return replace(answer, completion=completion, batch=growing.shared)
