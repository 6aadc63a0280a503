"""A lock that serves in order of arrival."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType


class FairLock:
    """Whoever waits longest gets it next.

    `threading.Lock` promises no order, and a loop that releases and takes it again at once, as decoding does
    between two tokens, keeps everybody else waiting until it ends.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._guard:
            if not self._held:
                self._held = True
                return
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append(gate)
        gate.acquire()  # opened by the thread that hands the lock over

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False
