"""One answer of a server while it arrives."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from pipelines.answering import ALTERNATIVES, EVERY, SIGN_OF_LIFE, STREAMS, Completion, GeneratedToken, TokenProbability
from pipelines.errors import InputError
from pipelines.remote.replies import Delta, Scored, read
from pipelines.remote.server import Server
from pipelines.remote.vocabulary import Vocabulary

_FAULTS = ("abort", "error")  # reasons that vLLM and others write for an answer that they gave up


class ServedAnswer:
    """A `Writing`: a task in the server's loop adds, one other thread reads. The clock starts with it.

    body:   of the request, without what asks for probabilities
    noted:  alternatives of each token; 0 asks for none, and keeps no tokens
    """

    shared = 0  # what shares a pass at a server, it does not tell

    def __init__(
        self, server: Server, path: str, body: dict[str, Any], noted: int, vocabulary: Vocabulary, ids: Sequence[int]
    ) -> None:
        self._server, self._vocabulary, self._ids, self._noted = server, vocabulary, tuple(ids), noted
        self._limit = int(body["max_tokens"])
        self._new: deque[Delta] = deque()
        self._news, self._gone = threading.Event(), threading.Event()
        self._reason = "cancelled"
        self._error: Exception | None = None
        self._text, self._count = "", 0
        self._tokens: list[GeneratedToken] = []
        self._begin = self._shown = time.perf_counter()
        self._task = server.client.start(self._receive(path, body))
        self._task.add_done_callback(self._end)

    @property
    def done(self) -> bool:
        """Whether it has ended and everything was taken."""
        return self._gone.is_set() and not self._new and self._error is None

    def take(self, wait: float | None = None) -> bool:
        """Add what has come; waits for it as long as a page takes to draw. Whether there is something new to show.

        Raises InputError when the answer broke off, once all that came before was taken.
        """
        self._news.wait(EVERY * max(1.0, self._server.answering / STREAMS) if wait is None else wait)
        self._news.clear()
        gone = self._gone.is_set()
        if gone:
            self._news.set()
        taken = [self._new.popleft() for _ in range(len(self._new))]
        if not taken and gone and self._error is not None:
            raise self._error
        for delta in taken:
            self._add(delta)
        # Now and then without news as well: only at a value does a stream learn that its reader has left.
        return bool(taken) or time.perf_counter() - self._shown > SIGN_OF_LIFE

    def shown(self) -> Completion:
        """The answer so far."""
        self._shown = time.perf_counter()
        return self._completion(None)

    def ended(self) -> Completion:
        """The whole answer."""
        return self._completion(self._reason)

    def close(self) -> None:
        """Give up what is not written yet: the connection is closed, and the server stops."""
        self._task.cancel()

    async def _receive(self, path: str, body: dict[str, Any]) -> None:
        try:
            with self._server.one_more():
                self._reason = await self._deltas(path, body)
        except Exception as error:
            self._error = error

    def _end(self, task: Future[None]) -> None:
        """There will be no more. A task that is cancelled before it began runs nothing, so that this is not its own."""
        self._gone.set()
        self._news.set()

    async def _deltas(self, path: str, body: dict[str, Any]) -> str:
        """Hand over what arrives; returns the stop reason."""
        finish, count = "", 0
        async with contextlib.aclosing(self._server.stream(path, body, self._noted)) as replies:
            async for reply in replies:
                delta = read(reply)
                finish = delta.finish or finish
                count = delta.count if delta.count is not None else count + (len(delta.scored) or bool(delta.text))
                self._new.append(delta)
                if len(self._new) == 1 and not self._text:
                    self._news.set()
        if not finish or finish in _FAULTS:
            why = f" ({finish})" if finish else ""
            what = f"the answer of the server at {self._server.client.shown} broke off{why}"
            raise InputError(what, "endpoint", "Ask again.")
        return "length" if finish == "length" else "eos"

    def _add(self, delta: Delta) -> None:
        self._text += delta.text
        self._count = delta.count if delta.count is not None else self._count + (len(delta.scored) or bool(delta.text))
        if not self._noted:
            return
        if len(delta.scored) == 1:
            self._tokens.append(self._token(delta.scored[0], delta.text, delta))
        elif delta.scored:
            self._tokens += [self._token(scored, scored.token, delta) for scored in delta.scored]
        elif delta.text:
            self._tokens.append(GeneratedToken(self._vocabulary.id(delta.text), delta.text, None, ()))

    def _token(self, scored: Scored, text: str, delta: Delta) -> GeneratedToken:
        """`text`: what it adds. A special token adds none; without a tokenizer, that is how one is known at the end."""
        special = self._vocabulary.is_special(scored.token) or bool(scored.token and delta.finish and not delta.text)
        number = self._vocabulary.id(scored.token, special)
        others = probabilities(self._vocabulary, scored.likely[:ALTERNATIVES])
        return GeneratedToken(number, scored.token if special else text, scored.probability, others, special)

    def _completion(self, reason: str | None) -> Completion:
        seconds = time.perf_counter() - self._begin
        return Completion(self._text, tuple(self._tokens), self._count, seconds, reason, self._ids)


def probabilities(vocabulary: Vocabulary, likely: Sequence[tuple[str, float]]) -> tuple[TokenProbability, ...]:
    """What could have stood in a place, with ids."""
    return tuple(TokenProbability(text, vocabulary.id(text), share) for text, share in likely)
