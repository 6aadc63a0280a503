"""Who may queue, and who waits how long. Pure bookkeeping in memory: nothing about a visitor is written anywhere."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from pipelines.errors import InputError
from pipelines.finetune.view import RunView
from pipelines.visiting import CLASSROOM, Limits


class Visitors:
    """Whose runs have not ended. A visitor is the hash of a browser's session, or "" for who has none: no limit."""

    def __init__(self, unfinished: Callable[[], Sequence[str]], limits: Limits = CLASSROOM) -> None:
        """`unfinished`: gives the ids of the runs that wait or train."""
        self._unfinished, self._limits = unfinished, limits
        self._whose: dict[str, str] = {}
        self._coming: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def admit(self, visitor: str) -> Iterator[Callable[[str], None]]:
        """Hold a place while a run is prepared; call what it gives with the run's id. Raises InputError when full."""
        with self._lock:
            unfinished = self._unfinished()
            self._whose = {run_id: who for run_id, who in self._whose.items() if run_id in unfinished}
            own = [run_id for run_id, who in self._whose.items() if who == visitor]
            of_one, length = self._limits.runs_of_one, self._limits.runs
            if visitor and len(own) + self._coming[visitor] >= of_one:
                many = "one run of yours waits or trains" if of_one == 1 else f"{of_one} runs of yours wait or train"
                raise InputError(
                    f"{many} already, which is as many as one visitor may have",
                    "Start",
                    f"Wait until one has ended, or stop one ({', '.join(run_id[:6] for run_id in own) or 'starting'}).",
                )
            if len(unfinished) + self._coming.total() >= length:
                raise InputError(
                    f"{length} runs wait or train in this studio already", "Start", "Try again when some have ended."
                )
            self._coming[visitor] += 1

        def admitted(run_id: str) -> None:
            with self._lock:
                self._whose[run_id] = visitor

        try:
            yield admitted
        finally:
            with self._lock:
                self._coming[visitor] -= 1
                if not self._coming[visitor]:
                    del self._coming[visitor]


def rest(view: RunView) -> float | None:
    """Seconds that a run which waits or trains still takes: at its own pace once it has one, else as predicted."""
    if view.seconds_left is not None:
        return view.seconds_left
    predicted = view.prediction.seconds if view.prediction else None
    return None if predicted is None else max(0.0, predicted - view.seconds)


def wait(before: Sequence[RunView], at_once: int = 1) -> float | None:
    """Seconds until every run in `before` has ended; None where one of them cannot be said."""
    rests = [rest(view) for view in before]
    known = [seconds for seconds in rests if seconds is not None]
    return sum(known) / at_once if len(known) == len(rests) else None
