"""One question to a base and its adapters, answered in one batch: one forward pass a step, whoever answers."""

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
    turn_end_ids,
)
from pipelines.decoding import Row, stream_rows
from pipelines.errors import InputError
from pipelines.messages import Message
from pipelines.models import Cancelled, Lease, ModelManager
from pipelines.models.lease import can_mix


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
    batch: how many models answered in the same passes, itself included; 0 before it began
    """

    model: str
    as_chat: bool
    completion: Completion | None = None
    error: str = ""
    batch: int = 0


def answer_together(
    manager: ModelManager,
    asks: Sequence[Ask],
    sampling: Sampling,
    cancel: threading.Event | None = None,
) -> Iterator[tuple[Answer, ...]]:
    """Ask models that share one base. Yields all answers whenever some have grown, the last time when all have ended.

    Adapters that cannot share a pass with others (see `pipelines.models.mixture`) take turns with the batch. Each
    answer is what the model gives alone. A model that cannot answer says so and the others go on.
    """
    sampling = sampling.checked()
    answers = [Answer(ask.model, ask.as_chat) for ask in asks]
    rows: dict[int, Row] = {}
    with ExitStack() as leases:
        for place, ask in enumerate(asks):
            try:
                rows[place] = _row(leases.enter_context(manager.lease(ask.model, cancel=cancel)), ask, sampling)
            except InputError as error:
                answers[place] = replace(answers[place], error=str(error))
            except Cancelled:
                answers[place] = replace(answers[place], completion=Completion("", (), 0, 0.0, "cancelled"))
        yield tuple(answers)
        running = []
        for places in _batches(rows):
            for place in places:
                answers[place] = replace(answers[place], batch=len(places))
            running.append(_grow(rows, places, answers, cancel))
        while running:
            for batch in list(running):
                if next(batch, None) is None:
                    running.remove(batch)
                yield tuple(answers)


def _row(lease: Lease, ask: Ask, sampling: Sampling) -> Row:
    if ask.as_chat:
        ids, ends = chat_ids(lease, (Message("user", ask.prompt),)), turn_end_ids(lease)
    else:
        ids, ends = prompt_ids(lease, ask.prompt), NO_IDS
    return Row(lease, ids, lease.eos_ids | ends, sampling.max_new_tokens, sampling.temperature, sampling.seed)


def _batches(rows: dict[int, Row]) -> list[list[int]]:
    """Places that can share their passes. Files replaced meanwhile give two leases of a name other weights."""
    batches: list[list[int]] = []
    for place, row in rows.items():
        for batch in batches:
            other = rows[batch[0]].lease
            if row.lease.shares(other) and can_mix(row.lease) and can_mix(other):
                batch.append(place)
                break
        else:
            batches.append([place])
    return batches


def _grow(
    rows: dict[int, Row], places: Sequence[int], answers: list[Answer], cancel: threading.Event | None
) -> Iterator[bool]:
    """Put what one batch has written into `answers`; yields whenever a reader is waiting for it."""
    growing = {place: Growing(rows[place].lease.tokenizer, rows[place].ids) for place in places}
    asked = [rows[place] for place in places]
    try:
        for step in stream_rows(asked):
            stopped = cancel is not None and cancel.is_set()
            due = False
            for got in step:
                place = places[got.row]
                if got.error is not None:
                    answers[place] = replace(answers[place], error=str(got.error))
                    del growing[place]
                    continue
                answer = growing[place]
                answer.push(got.token, got.logits)
                if got.token in rows[place].stops:
                    answers[place] = replace(answers[place], completion=answer.ended("eos"))
                    del growing[place]
                elif answer.due():
                    answers[place] = replace(answers[place], completion=answer.shown())
                    due = True
            if stopped:
                break
            if due:
                yield True
        reason = "cancelled" if cancel is not None and cancel.is_set() else "length"
        for place, answer in growing.items():
            answers[place] = replace(answers[place], completion=answer.ended(reason))
    except InputError as error:  # of the whole pass
        for place in growing:
            answers[place] = replace(answers[place], error=str(error))
