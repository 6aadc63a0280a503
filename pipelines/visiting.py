"""Who asks, as far as limits need to know, and which runs they may be shown. Nothing of it is written anywhere."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from dataclasses import dataclass

from pipelines.settings import Settings

# The hash of the browser's or the client's session that is being served; "" for the studio's own work.
VISITOR: ContextVar[str] = ContextVar("visitor", default="")
_REMEMBERED = 10_000  # runs whose visitor is known


@dataclass(frozen=True, slots=True)
class Limits:
    """What one visitor may have at the same time, and what all of them together.

    runs_of_one:    runs that wait or train
    runs:           the same, of everybody
    run_seconds:    how long a run may take, as predicted; None is as long as it likes
    answers_of_one: answers that are written at once; the next ones of that visitor wait
    asked_of_one:   answers that are written or wait; more are refused
    upload_bytes:   of one file
    """

    runs_of_one: int = 3
    runs: int = 60
    run_seconds: float | None = None
    answers_of_one: int = 16
    asked_of_one: int = 48
    upload_bytes: int = 200 * 10**6


CLASSROOM = Limits()  # a class of thirty, twice, whose people know each other
PUBLIC = Limits(runs_of_one=1, runs=12, run_seconds=600.0, answers_of_one=8, asked_of_one=16, upload_bytes=20 * 10**6)


def limits_of(settings: Settings) -> Limits:
    """The limits of a studio that was started so."""
    return PUBLIC if settings.public else CLASSROOM


class Owners:
    """Who started which run. In a public studio a run is listed for its visitor alone; its id opens it for anybody, as
    the link that carries it is how a run is shared."""

    def __init__(self, public: bool) -> None:
        self._public = public
        self._whose: dict[str, str] = {}
        self._lock = threading.Lock()

    def note(self, run_id: str, visitor: str) -> None:
        """That visitor has started it."""
        with self._lock:
            self._whose[run_id] = visitor
            if len(self._whose) > _REMEMBERED:
                del self._whose[next(iter(self._whose))]

    def lists(self, run_id: str) -> bool:
        """Whether the run stands in the lists of whoever is being served."""
        if not self._public:
            return True
        visitor = VISITOR.get()
        return bool(visitor) and self._whose.get(run_id) == visitor
