"""Demonstrations made in the background, one beat ahead of the person who gives the lesson."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pipelines.errors import InputError
from pipelines.teaching.demonstrations import demonstrating
from pipelines.teaching.places import Place
from pipelines.teaching.records import Demonstration

if TYPE_CHECKING:
    from pipelines.finetune import FinetuneService
    from pipelines.models import ModelManager
    from pipelines.teaching.figures import Figures

_log = logging.getLogger(__name__)
_Key = tuple[str, str, str]


@dataclass(slots=True)
class Drawn:
    """What the drawing of a stage shows. `figures`: None while `done` is False, and where the pair cannot give them."""

    figures: Figures | None = None
    done: bool = False


@dataclass(slots=True)
class _Work:
    """One demonstration on its way, or made."""

    shown: Demonstration
    ended: threading.Event = field(default_factory=threading.Event)


class Preparing:
    """One per studio. However many ask for a demonstration, it runs once; it is kept until the pair is another."""

    def __init__(self, manager: ModelManager, runs: FinetuneService | None = None) -> None:
        self._manager, self._runs = manager, runs
        self._works: dict[_Key, _Work] = {}
        self._drawn: dict[_Key, Drawn] = {}
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # two at once would only make both late

    def ahead(self, place: Place) -> None:
        """Begin what this place or the next ones will show: a stage's own, and at its end that of the next stage."""
        if place.beat == "proof":
            return  # it is being measured, and whatever runs beside it makes it late
        coming = place if place.beat != "remember" else place.next
        if coming:
            self.drawing(coming)
            self._begin(coming.stage)

    def drawing(self, place: Place) -> Drawn:
        """What the drawing of that place shows, as far as it is known; measured now, if nobody has."""
        key = self._key(place.stage)
        with self._lock:
            if key in self._drawn:
                return self._drawn[key]
            drawn = self._drawn[key] = Drawn()
        threading.Thread(target=self._measure, args=(place.stage, drawn), name=f"drawing-{key[0]}", daemon=True).start()
        return drawn

    def now(self, place: Place) -> Demonstration:
        """The demonstration of that place where it stands; begun, if nobody has."""
        return self._begin(place.stage).shown

    def ready(self, place: Place) -> Demonstration:
        """The demonstration of that place, all of it. Waits for it."""
        work = self._begin(place.stage)
        work.ended.wait()
        return work.shown

    def _begin(self, stage: str) -> _Work:
        key = self._key(stage)
        with self._lock:
            work = self._works.get(key)
            if work is not None and not (work.ended.is_set() and work.shown.limits and _may_pass(work.shown)):
                return work
            work = self._works[key] = _Work(Demonstration(stage, doing="waiting for its turn"))
        threading.Thread(target=self._run, args=(stage, work), name=f"demonstration-{stage}", daemon=True).start()
        return work

    def _key(self, stage: str) -> _Key:
        pair = self._manager.pair
        return stage, pair.base.key, pair.instruct.key

    def _measure(self, stage: str, drawn: Drawn) -> None:
        from pipelines.teaching.figures import figures

        try:
            drawn.figures = figures(stage, self._manager)
        except InputError:
            pass  # the beat is whole without a drawing; the tab says what is missing
        except Exception:
            _log.exception("the drawing of %s failed", stage)
        finally:
            drawn.done = True

    def _run(self, stage: str, work: _Work) -> None:
        try:
            with self._turn:
                for shown in demonstrating(stage, self._manager, self._runs):
                    work.shown = shown
        except Exception as error:  # a fault of ours must not leave the room waiting
            _log.exception("the demonstration of %s failed", stage)
            work.shown = replace(work.shown, limits=(f"It could not be run: {error}",), done=True, doing="")
        finally:
            work.ended.set()


def _may_pass(shown: Demonstration) -> bool:
    """Whether another try may do better: nothing at all was shown."""
    return not (shown.answers or shown.figures or shown.bars or shown.tokens or shown.rows)
