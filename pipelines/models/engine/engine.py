"""One thread that writes everybody's answers: requests join and leave its batches between two passes.

All requests for a model in memory, whatever their adapters, lengths and temperatures, share its passes; several models
take turns, a pass each. What an answer says does not depend on who else is there: the same products are summed, in
another order where a batch has another shape. In float32 that moves a logit by some 1e-5, and two tokens would have to
be as close as that to change places; in bfloat16 by some 1e-1, where they can.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pipelines.errors import InputError
from pipelines.faults import is_out_of_memory
from pipelines.models.engine.any_batch import AnyBatch
from pipelines.models.engine.choosing import choose_all
from pipelines.models.engine.lean_batch import LeanBatch
from pipelines.models.engine.request import Request, Ticket, Token
from pipelines.models.engine.rows import Batch, Row
from pipelines.visiting import VISITOR

if TYPE_CHECKING:
    import torch

    from pipelines.models.lease import Lease
    from pipelines.models.resident import Adapter, Resident


class Budget(Protocol):
    """Whoever counts the bytes of the device."""

    def free(self, need: int) -> int:
        """Bytes that caches may take beyond those they have, once what nobody uses was evicted for `need` of them."""
        ...

    def caches(self, taken: int) -> None:
        """Note the bytes of all caches."""
        ...

    def refuse_cache(self, need: int, title: str, weights: int) -> None:
        """Raise InputError for a request whose cache could never be had beside its model's own bytes."""
        ...


@dataclass(slots=True, eq=False)
class _Running:
    ticket: Ticket
    row: Row
    batch: Batch
    generator: torch.Generator
    left: int


class Engine:
    """Answers the requests for all models of one device."""

    def __init__(self, budget: Budget, of_one: int | None = None, asked_of_one: int | None = None) -> None:
        """`of_one`: answers of one visitor that are written at once, beyond which theirs wait while others' pass them;
        `asked_of_one`: those that wait or are written, beyond which they are refused. None is no limit."""
        self._budget, self._of_one, self._asked_of_one = budget, of_one, asked_of_one
        self._changed = threading.Condition()
        self._queue: list[Ticket] = []
        self._closing: list[Ticket] = []
        self._batches: dict[tuple[Resident, Adapter | None], Batch] = {}
        self._running: dict[Row, _Running] = {}
        self._thread: threading.Thread | None = None

    @property
    def load(self) -> tuple[int, int]:
        """Requests that are being answered, and those that wait."""
        with self._changed:
            return len(self._running), len(self._queue)

    def submit(self, asked: Sequence[tuple[Lease, Request]]) -> list[Ticket]:
        """Queue requests, all of which join in the same pass where there is room. Raises InputError for one that
        could never be answered, and to a visitor who has asked for too many already."""
        visitor = VISITOR.get()
        tickets = [Ticket(lease, request, self._close, visitor) for lease, request in asked]
        for ticket in tickets:
            lease = ticket.lease
            need = _batch_for(lease).missing(_room(ticket))
            self._budget.refuse_cache(need, lease.spec.title, lease.resident.bytes)
        with self._changed:
            self._refuse_too_many(visitor, len(tickets))
            self._queue += tickets
            self._number()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return tickets

    def _refuse_too_many(self, visitor: str, more: int) -> None:
        if not visitor or self._asked_of_one is None:
            return
        under_way = [*self._queue, *(running.ticket for running in self._running.values())]
        own = sum(ticket.visitor == visitor for ticket in under_way)
        if own + more > self._asked_of_one:
            raise InputError(
                f"{own} answers of yours are being written or wait, and one visitor may have {self._asked_of_one}",
                "model",
                "Wait until some have ended, or stop them.",
            )

    def _close(self, ticket: Ticket) -> None:
        with self._changed:
            self._closing.append(ticket)
            self._changed.notify_all()

    def _number(self) -> None:
        for place, ticket in enumerate(self._queue, start=1):
            ticket.place = place

    def _work(self) -> None:
        import torch

        with torch.inference_mode():
            while True:
                try:
                    self._turn()
                except Exception as error:  # a mistake of ours: nobody may wait for ever, and the next one is answered
                    self._give_up(error)

    def _turn(self) -> None:
        """Wait until there is something to do, and do a pass of every batch."""
        with self._changed:
            while not (self._queue or self._closing or self._running):
                self._changed.wait()
            closing, self._closing = self._closing, []
        for ticket in closing:
            self._drop(ticket)
        self._admit()
        for key in list(self._batches):
            if key in self._batches:
                self._step(key)

    def _give_up(self, error: Exception) -> None:
        """End every request with this error, and begin anew."""
        with self._changed:
            lost = [*self._queue, *self._closing, *(running.ticket for running in self._running.values())]
            self._queue, self._closing = [], []
            self._running, self._batches = {}, {}
        self._count()
        for ticket in lost:
            ticket.end(error=error)

    def _drop(self, ticket: Ticket) -> None:
        """Its reader has left."""
        with self._changed:
            if ticket in self._queue:
                self._queue.remove(ticket)
                self._number()
        for running in [each for each in self._running.values() if each.ticket is ticket]:
            self._leave(running)
        ticket.end("cancelled")

    def _admit(self) -> None:
        """Let in whoever comes next, as long as there is room; at least one, that the queue moves."""
        while True:
            with self._changed:
                ticket = self._next()
            if ticket is None:
                return
            room = _room(ticket)
            if room <= len(ticket.request.ids):  # no token fits
                self._dequeue(ticket)
                ticket.end("length")
                continue
            key = _key(ticket.lease)
            batch = self._batches.get(key) or _batch_for(ticket.lease)
            need = batch.missing(room)
            free = self._budget.free(need)
            if self._running and (need > free or len(batch.rows) >= batch.limit):
                return
            self._dequeue(ticket)
            self._enter(ticket, key, batch, room, max(free, need))

    def _next(self) -> Ticket | None:
        """The first that waits, of visitors who have not as many answers as one may have."""
        if self._of_one is None:
            return self._queue[0] if self._queue else None
        writing = Counter(running.ticket.visitor for running in self._running.values())
        return next((each for each in self._queue if not each.visitor or writing[each.visitor] < self._of_one), None)

    def _dequeue(self, ticket: Ticket) -> None:
        with self._changed:
            if ticket in self._queue:
                self._queue.remove(ticket)
            ticket.place = 0
            self._number()

    def _enter(self, ticket: Ticket, key: tuple[Resident, Adapter | None], batch: Batch, room: int, free: int) -> None:
        import torch

        request = ticket.request
        row = Row(ticket.lease.adapter, list(request.ids), room)
        generator = torch.Generator().manual_seed(request.seed)
        running = _Running(ticket, row, batch, generator, min(request.max_new_tokens, room - len(request.ids)))
        try:
            batch.add(row, free)
        except Exception as error:
            ticket.end(error=_said(error))
            return
        self._batches[key] = batch
        self._running[row] = running
        self._count()

    def _step(self, key: tuple[Resident, Adapter | None]) -> None:
        batch = self._batches[key]
        if not batch.rows:
            del self._batches[key]
            return
        try:
            rows, logits = batch.step()
            if not rows:
                return
            running = [self._running[row] for row in rows]
            chosen = choose_all(
                logits, [each.ticket.request for each in running], [each.generator for each in running], len(rows)
            )
        except Exception as error:
            self._fail(batch, error)
            return
        for each, token in zip(running, chosen, strict=True):
            if each.row in self._running:  # else its batch was given up while another row left
                self._give(each, token)

    def _give(self, running: _Running, token: Token | InputError) -> None:
        ticket = running.ticket
        if isinstance(token, InputError):
            self._leave(running)
            ticket.end(error=token)
            return
        running.left -= 1
        running.row.pending = [token.id]
        reason = "eos" if token.id in ticket.request.stops else "length" if running.left == 0 else None
        ticket.push(token)
        if reason is not None:
            self._leave(running)
            ticket.end(reason)

    def _fail(self, batch: Batch, error: Exception) -> None:
        """A pass failed. Out of memory, the row that came last makes room for the others, where the pass can be done
        again; else all of them end."""
        if not (batch.repeatable and is_out_of_memory(error)):
            self._discard(batch, error)
            return
        newest = [each for each in self._running.values() if each.batch is batch][-1]
        self._leave(newest)
        newest.ticket.end(error=_said(error))

    def _leave(self, running: _Running) -> None:
        del self._running[running.row]
        try:
            running.batch.remove(running.row)
        except Exception as error:  # memory may not suffice for what tidies up
            self._discard(running.batch, error)
        self._count()

    def _discard(self, batch: Batch, error: Exception) -> None:
        """End every row of a batch that cannot go on."""
        self._batches = {key: other for key, other in self._batches.items() if other is not batch}
        for running in [each for each in self._running.values() if each.batch is batch]:
            del self._running[running.row]
            running.ticket.end(error=_said(error))
        self._count()

    def _count(self) -> None:
        self._budget.caches(sum(batch.bytes for batch in self._batches.values()))


def _key(lease: Lease) -> tuple[Resident, Adapter | None]:
    return lease.resident, lease.adapter if lease.adapter is not None and lease.adapter.alone else None


def _batch_for(lease: Lease) -> Batch:
    resident, alone = _key(lease)
    if resident.lean is not None and alone is None:
        return LeanBatch(resident.lean)
    return AnyBatch(resident, alone)


def _room(ticket: Ticket) -> int:
    request = ticket.request
    return min(len(request.ids) + request.max_new_tokens, ticket.lease.context_length)


def _said(error: Exception) -> Exception:
    if is_out_of_memory(error):
        return InputError(
            "the memory did not suffice for this answer", "model", "Ask for fewer tokens, or again later."
        )
    return error
