"""The experiments of the lesson: held for as long as somebody's page looks at them, and no longer."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from pipelines.experiments.service import ExperimentService, State, Ticket

PATIENCE = 15.0  # seconds without a look, after which nobody is there any more; a reload takes two or three


@dataclass(slots=True)
class _Held:
    """A ticket and when somebody last looked at it."""

    ticket: Ticket
    seen: float


class Proofs:
    """A page asks twice a second where an experiment stands, so that one which is read anew finds it where it is.

    The Prove block of a tab holds its ticket while its stream is open; here there is no stream, only looks.
    """

    def __init__(self, experiments: ExperimentService, patience: float = PATIENCE) -> None:
        self._experiments, self._patience = experiments, patience
        self._held: dict[tuple[str, int], _Held] = {}
        self._ended: dict[tuple[str, int], State] = {}
        self._lock = threading.Lock()

    def look(self, stage: str, seed: int = 0) -> State:
        """Where that experiment stands; started, if it is not. Raises InputError where it cannot be asked for."""
        key = (stage, seed)
        with self._lock:
            if key in self._ended:
                return self._ended[key]
            held = self._held.get(key)
            if held is None:
                held = self._held[key] = _Held(self._experiments.ask(stage, seed), 0.0)
                threading.Thread(target=self._watch, args=(key, held), name=f"lesson-{stage}", daemon=True).start()
            held.seen = time.monotonic()
            state = held.ticket.state()
            if state.report is not None or state.status in ("failed", "ended"):
                del self._held[key]
                held.ticket.leave()
                if state.report is not None:
                    self._ended[key] = state
        return state

    def _watch(self, key: tuple[str, int], held: _Held) -> None:
        """Give the experiment up once nobody looks at it."""
        while True:
            time.sleep(self._patience / 5)
            with self._lock:
                if self._held.get(key) is not held:
                    return
                if time.monotonic() - held.seen > self._patience:
                    del self._held[key]
                    held.ticket.leave()
                    return
