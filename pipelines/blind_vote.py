"""A room votes on answers whose authors are hidden, and the tally of all its votes. In memory only.

One question at a time. Its answers are shuffled here, with the operating system's randomness, and no view of a visitor
who has not voted holds a name, nor who is ahead. A visitor is a random id of a browser: no names, no addresses. Who
clears the browser's storage can vote again; this counts a class, not an election.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipelines.errors import InputError
from pipelines.experiments.statistics import wilson

Stage = Literal["writing", "voting", "revealed"]
TIE = -1
MAX_VOTERS = 500  # of one question
MAX_TALLIED = 64  # models that a tally can hold
LETTERS = "ABCDEFGH"
# A question that nobody votes on for so long may be replaced by another person's.
IDLE = 180.0
_WHERE = "Blind vote"


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer and who wrote it. `key` counts the votes, `title` is shown."""

    key: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class BlindView:
    """A question as one visitor may see it.

    texts:  of the answers, in the order of the letters
    votes:  how many have voted
    choice: the visitor's own vote: a place, TIE, or None
    names, counts: of the answers; empty as long as the visitor has neither voted nor the vote has been closed
    ties:   votes for none of them; 0 as long as that
    failed: titles of models that gave no answer; empty as long as that
    mine:   the visitor has asked it
    """

    number: int
    question: str
    stage: Stage
    models: int
    texts: tuple[str, ...]
    votes: int
    choice: int | None
    names: tuple[str, ...]
    counts: tuple[int, ...]
    ties: int
    failed: tuple[str, ...]
    mine: bool

    @property
    def open(self) -> bool:
        """Whether the visitor may know the names."""
        return bool(self.names)


@dataclass(frozen=True, slots=True)
class Standing:
    """A model in the tally: `wins` of the `votes` cast where it stood to choose; share with its 95 % interval."""

    title: str
    wins: int
    votes: int
    share: float
    low: float
    high: float


@dataclass(slots=True)
class _Round:
    number: int
    asker: str
    question: str
    models: int
    touched: float
    stage: Stage = "writing"
    entries: tuple[Entry, ...] = ()
    failed: tuple[str, ...] = ()
    votes: dict[str, int] = field(default_factory=dict)


class BlindVote:
    """One per studio; every method may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._shuffle = random.SystemRandom().shuffle
        self._round: _Round | None = None
        self._numbers = 0
        self._titles: dict[str, str] = {}
        self._wins: dict[str, int] = {}
        self._cast: dict[str, int] = {}
        self._ties = 0

    def ask(self, asker: str, question: str, models: int) -> int:
        """Begin a question; returns its number. Raises InputError while somebody else's is being voted on."""
        with self._lock:
            now, before = self._clock(), self._round
            if before and before.stage != "revealed" and before.asker != asker and now - before.touched < IDLE:
                raise InputError(
                    "another question is being voted on",
                    _WHERE,
                    "Vote on it; the next can be asked when it is revealed.",
                )
            if not 2 <= models <= len(LETTERS):
                raise InputError(f"{models} models", _WHERE, f"Choose from 2 to {len(LETTERS)}.")
            self._numbers += 1
            self._round = _Round(self._numbers, asker, question, models, now)
            return self._numbers

    def present(self, number: int, entries: Sequence[Entry], failed: Sequence[str] = ()) -> None:
        """Put the answers to the vote, shuffled. Raises InputError for fewer than two, and ends the question then."""
        with self._lock:
            current = self._current(number)
            if len(entries) < 2:
                self._round = None
                raise InputError("fewer than two models answered", _WHERE, "Choose others, or ask again.")
            unknown = {entry.key for entry in entries} - self._titles.keys()
            if len(self._titles) + len(unknown) > MAX_TALLIED:
                self._round = None
                raise InputError(f"the tally holds {MAX_TALLIED} models", _WHERE, "Begin a new tally.")
            shuffled = list(entries)
            self._shuffle(shuffled)
            current.entries, current.failed = tuple(shuffled), tuple(failed)
            current.stage, current.touched = "voting", self._clock()

    def withdraw(self, number: int) -> None:
        """End a question that was not answered. One that is being voted on stays."""
        with self._lock:
            if self._round is not None and self._round.number == number and self._round.stage == "writing":
                self._round = None

    def vote(self, visitor: str, number: int, place: int) -> None:
        """Count one visitor's vote: a place, or TIE. Raises InputError for a second one, and when the vote is over."""
        with self._lock:
            current = self._current(number)
            if current.stage != "voting":
                raise InputError(
                    "is over" if current.entries else "has not begun", _WHERE, "Wait for the next question."
                )
            if visitor in current.votes:
                raise InputError("you have voted on this question", _WHERE, "Each visitor has one vote.")
            if place != TIE and not 0 <= place < len(current.entries):
                raise InputError(f"there is no answer {place}", _WHERE, "Choose one of the letters, or a tie.")
            if len(current.votes) >= MAX_VOTERS:
                raise InputError(f"{MAX_VOTERS} have voted", _WHERE, "More are not counted.")
            current.votes[visitor] = place
            current.touched = self._clock()
            for entry in current.entries:
                self._titles[entry.key] = entry.title
                self._cast[entry.key] = self._cast.get(entry.key, 0) + 1
            if place == TIE:
                self._ties += 1
            else:
                winner = current.entries[place].key
                self._wins[winner] = self._wins.get(winner, 0) + 1

    def reveal(self, visitor: str, number: int) -> None:
        """Close the vote and show the names to all. Only who asked the question can."""
        with self._lock:
            current = self._current(number)
            self._only(current, visitor, "reveal it")
            if current.stage == "writing":
                raise InputError("has not begun", _WHERE, "Wait for the answers.")
            current.stage = "revealed"

    def reset(self, visitor: str, number: int) -> None:
        """Forget all votes and the question. Only who asked the last question can."""
        with self._lock:
            self._only(self._current(number), visitor, "begin a new tally")
            self._round = None
            self._titles, self._wins, self._cast, self._ties = {}, {}, {}, 0

    def view(self, visitor: str) -> BlindView | None:
        """The question of the moment as this visitor may see it; None when there is none."""
        with self._lock:
            current = self._round
            if current is None:
                return None
            choice = current.votes.get(visitor)
            shown = current.stage == "revealed" or choice is not None
            cast = list(current.votes.values())
            return BlindView(
                number=current.number,
                question=current.question,
                stage=current.stage,
                models=current.models,
                texts=tuple(entry.text for entry in current.entries),
                votes=len(cast),
                choice=choice,
                names=tuple(entry.title for entry in current.entries) if shown else (),
                counts=tuple(cast.count(place) for place in range(len(current.entries))) if shown else (),
                ties=cast.count(TIE) if shown else 0,
                failed=current.failed if shown else (),
                mine=current.asker == visitor,
            )

    def standings(self) -> tuple[tuple[Standing, ...], int]:
        """The tally over all questions, the most chosen share first, and how many votes were ties."""
        with self._lock:
            found = []
            for key, title in self._titles.items():
                wins, votes = self._wins.get(key, 0), self._cast[key]
                found.append(Standing(title, wins, votes, wins / votes, *wilson(wins, votes)))
            return tuple(sorted(found, key=lambda one: (-one.share, one.title))), self._ties

    def _current(self, number: int) -> _Round:
        if self._round is None or self._round.number != number:
            raise InputError("this question is over", _WHERE, "Another one may be there already.")
        return self._round

    def _only(self, current: _Round, visitor: str, what: str) -> None:
        if current.asker != visitor:
            raise InputError(f"only who asked the question can {what}", _WHERE, "")
