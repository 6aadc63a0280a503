"""One loading per model, however many ask for it at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pipelines.errors import InputError
from pipelines.models.download import Cancelled, Progress
from pipelines.models.resident import Resident
from pipelines.models.shelf import POLL, Shelf


@dataclass(slots=True)
class Flight:
    """One loading. `pinned`: it goes on although nobody waits (preloading)."""

    waiting: int = 0
    pinned: bool = False
    progress: tuple[float, str] = (0.0, "waiting")
    cancelled: threading.Event = field(default_factory=threading.Event)
    resident: Resident | None = None
    error: BaseException | None = None

    def report(self, fraction: float, what: str) -> None:
        """Note how far it is. Raises Cancelled when nobody waits any more."""
        if self.cancelled.is_set():
            raise Cancelled
        self.progress = (fraction, what)


Load = Callable[[Flight], tuple[Resident, int]]  # the model, and the bytes that were reserved for it


class Flights:
    """The loadings under way. They end on the shelf, each waiter holding its lease already."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._running: dict[str, Flight] = {}

    def under_way(self) -> dict[str, tuple[float, str]]:
        """What is being loaded, how far each is (0 to 1), and what is being done."""
        with self._shelf.changed:
            return {key: flight.progress for key, flight in self._running.items()}

    def borrow(
        self,
        key: str,
        load: Load,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
        pinned: bool = False,
    ) -> Resident:
        """The model of that key with one more lease on it; `load` runs, once, in a thread of its own.

        Raises what `load` raised, to each waiter; Cancelled when `cancel` is set while waiting.
        """
        while True:
            with self._shelf.changed:
                resident = self._shelf.borrow(key)
                if resident is not None:
                    return resident
                flight = self._running.get(key) or self._start(key, load)
                joined = not flight.cancelled.is_set()
                if joined:
                    flight.waiting += 1
                    flight.pinned = flight.pinned or pinned
            if joined:
                return self._wait(flight, progress, cancel)
            time.sleep(POLL)  # that one was given up a moment ago; the next can start when it is gone

    def _start(self, key: str, load: Load) -> Flight:
        flight = self._running[key] = Flight()
        threading.Thread(target=self._fly, args=(key, load, flight), name=f"load {key}", daemon=True).start()
        return flight

    def _fly(self, key: str, load: Load, flight: Flight) -> None:
        try:
            resident, reserved = load(flight)
        except BaseException as error:  # handed to whoever waits
            with self._shelf.changed:
                flight.error = error
                del self._running[key]
                self._shelf.changed.notify_all()
            return
        with self._shelf.changed:
            self._shelf.put(key, resident, flight.waiting, reserved)
            flight.resident = resident
            del self._running[key]

    def _wait(self, flight: Flight, progress: Progress | None, cancel: threading.Event | None) -> Resident:
        shown = None
        while True:
            with self._shelf.changed:
                if flight.resident is None and flight.error is None:
                    self._shelf.changed.wait(POLL)
                if flight.resident is not None:
                    return flight.resident
                if flight.error is not None:
                    raise _again(flight.error)
                if cancel is not None and cancel.is_set():
                    self._leave(flight)
                    raise Cancelled
            if progress is not None and flight.progress != shown:
                shown = flight.progress
                try:
                    progress(*shown)
                except BaseException:
                    self._leave(flight)
                    raise

    def _leave(self, flight: Flight) -> None:
        with self._shelf.changed:
            if flight.resident is not None:  # it came while the progress was being shown
                self._shelf.release(flight.resident)
            flight.waiting -= 1
            if flight.waiting == 0 and not flight.pinned:
                flight.cancelled.set()


def _again(error: BaseException) -> BaseException:
    """The same error for one more waiter: a raised exception collects the traces of all who raise it."""
    if isinstance(error, InputError):
        return InputError(error.what, error.where, error.advice)
    if isinstance(error, Cancelled):
        return Cancelled()
    fault = RuntimeError(f"loading failed: {error!r}")
    fault.__cause__ = error
    return fault
