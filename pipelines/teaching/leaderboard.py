"""Whose run answers best: the members of a room by the held-out accuracy of the runs that they started.

Knows runs by their ids and by what somebody who can read them says. Keeps no lock: the room that holds it does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.errors import InputError

MAX_RUNS = 20  # of one member
_WHERE = "Leaderboard"


@dataclass(frozen=True, slots=True)
class Result:
    """Where a run stands.

    accuracy: share of held-out questions answered rightly at the last look; None before the first
    rows:     how many held-out questions that are
    what:     the run in a few words: method, data
    ended:    nothing will change any more
    """

    accuracy: float | None
    rows: int
    step: int
    steps: int
    what: str
    ended: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One member's best run. place: from 1, shared by equals; runs: how many the member has started."""

    place: int
    member: int
    name: str
    accuracy: float
    rows: int
    step: int
    what: str
    training: bool
    runs: int


@dataclass(slots=True)
class Leaderboard:
    """Runs by who claimed them first."""

    _runs: dict[str, str] = field(default_factory=dict)
    _results: dict[str, Result] = field(default_factory=dict)

    def claim(self, visitor: str, run_id: str) -> bool:
        """Count this run for that visitor; whether that is new. Raises InputError for somebody else's run."""
        owner = self._runs.get(run_id)
        if owner == visitor:
            return False
        if owner is not None:
            raise InputError("this run is somebody else's", _WHERE)
        if sum(whose == visitor for whose in self._runs.values()) >= MAX_RUNS:
            raise InputError(f"you have started {MAX_RUNS} runs in this room", _WHERE, "More are not counted.")
        self._runs[run_id] = visitor
        return True

    def unfinished(self) -> tuple[str, ...]:
        """The runs to look at again."""
        return tuple(run for run in self._runs if not (self._results.get(run) and self._results[run].ended))

    def note(self, run_id: str, result: Result) -> bool:
        """Keep where a run stands; whether that is news."""
        if run_id not in self._runs or self._results.get(run_id) == result:
            return False
        self._results[run_id] = result
        return True

    def forget(self, run_id: str) -> bool:
        """A run that is gone counts no more; whether it was there."""
        self._results.pop(run_id, None)
        return self._runs.pop(run_id, None) is not None

    def training(self) -> int:
        """How many runs wait or train."""
        return len(self.unfinished())

    def rows(self, members: dict[str, tuple[int, str]]) -> tuple[Row, ...]:
        """The best run of each of these members (number and name by visitor), the most accurate first.

        Of equal accuracies the one with fewer steps stands first; the place they share.
        """
        best: list[tuple[float, int, str, Result]] = []
        for visitor, (number, _) in members.items():
            measured = [
                (result.accuracy, -result.step, result)
                for run, owner in self._runs.items()
                if owner == visitor and (result := self._results.get(run)) and result.accuracy is not None
            ]
            if measured:
                accuracy, _, result = max(measured, key=lambda one: one[:2])
                best.append((accuracy, number, visitor, result))
        best.sort(key=lambda one: (-one[0], one[3].step, one[1]))
        return tuple(
            Row(
                place=1 + sum(other[0] > accuracy for other in best),
                member=number,
                name=members[visitor][1],
                accuracy=accuracy,
                rows=result.rows,
                step=result.step,
                what=result.what,
                training=not result.ended,
                runs=sum(owner == visitor for owner in self._runs.values()),
            )
            for accuracy, number, visitor, result in best
        )
