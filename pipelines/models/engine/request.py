"""What is asked of the engine, and what comes back while it is written."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.models.lease import Lease


@dataclass(frozen=True, slots=True)
class Request:
    """Generate after `ids`, until a token of `stops` or `max_new_tokens`.

    temperature:  0 takes the most probable token; `seed` makes any other repeatable
    alternatives: how many of the most probable tokens are noted beside each that is chosen; with 0, no probability
                  is computed at all
    """

    ids: Sequence[int]
    stops: frozenset[int]
    max_new_tokens: int
    temperature: float = 0.0
    seed: int = 0
    alternatives: int = 0


@dataclass(frozen=True, slots=True)
class Token:
    """A token that was chosen.

    probability: the model's own, at temperature 1; None where none was asked for
    likely:      the most probable ids in its place and their probabilities
    rows:        how many requests shared the pass, itself included
    """

    id: int
    probability: float | None = None
    likely: tuple[tuple[int, float], ...] = ()
    rows: int = 1


class Ticket:
    """One request under way. The engine writes, one other thread reads; `close` has to be called in the end.

    visitor: who asked; "" is nobody in particular
    place:  in the queue, from 1; 0 once it is being answered
    reason: None while it grows; then `eos`, `length` or `cancelled`
    error:  what ended it instead
    """

    def __init__(self, lease: Lease, request: Request, closing: Callable[[Ticket], None], visitor: str = "") -> None:
        self.lease, self.request, self.visitor = lease, request, visitor
        self.place = 0
        self.reason: str | None = None
        self.error: Exception | None = None
        self.abandoned = False
        self.gone = threading.Event()  # the engine has let go of it
        self._closing = closing
        self._new: deque[Token] = deque()
        self._news = threading.Event()
        self._started = False

    @property
    def ended(self) -> bool:
        return self.gone.is_set()

    @property
    def done(self) -> bool:
        """Whether it has ended and everything was taken."""
        return self.ended and not self._new and self.error is None

    def take(self, wait: float) -> list[Token]:
        """What has come since the last call, after `wait` seconds at most; sooner at the first token and at the end.

        Raises what ended the request, once everything before was taken.
        """
        self._news.wait(wait)
        self._news.clear()
        ended = self.ended
        if ended:
            self._news.set()
        taken = [self._new.popleft() for _ in range(len(self._new))]
        if not taken and ended and self.error is not None:
            raise self.error
        return taken

    def close(self) -> None:
        """Give up what is not written yet. Returns when the engine has let go, after the pass under way."""
        if not self.ended:
            self._closing(self)
            self.gone.wait()

    def push(self, token: Token) -> None:
        """For the engine: one more token."""
        self._new.append(token)
        if not self._started:
            self._started = True
            self._news.set()

    def end(self, reason: str | None = None, error: Exception | None = None) -> None:
        """For the engine: there will be no more."""
        if not self.ended:
            self.reason, self.error, self.place = reason, error, 0
            self.gone.set()
            self._news.set()
