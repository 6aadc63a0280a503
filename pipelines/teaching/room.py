"""One room: a presenter, the people who follow, and what they predict. In memory, for as long as the room is open.

Whoever follows is told that something changed and then looks at everything there is: nothing can be missed by a
connection that broke, and nothing is applied twice.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pipelines.errors import InputError
from pipelines.stages import STAGES
from pipelines.teaching.ballots import Ballot, BallotView, Poll
from pipelines.teaching.leaderboard import Leaderboard, Result, Row
from pipelines.teaching.places import BEATS

MAX_MEMBERS = 200
MAX_NAME = 24  # characters
MAX_FOLLOWED = 4  # pages of one person that follow at the same time
SHOWN = 20  # rows of the leaderboard
PRESENTER = ""  # who follows without being a member
_WHERE = "Room"


@dataclass(frozen=True, slots=True)
class RoomView:
    """The room as one person may see it.

    version:  grows with every change, so that a page never goes back to an older view
    place:    where the presenter is: `lora.proof` in the lesson, `lora` in a tab
    mover:    the page of the presenter that moved there
    here:     how many members have the page open; None for members
    member:   the number of the person, from 1; 0 for the presenter
    question: the prediction of the stage that the presenter is in
    """

    version: int
    code: str
    place: str
    mover: str
    here: int | None
    member: int
    name: str
    question: BallotView | None
    board: tuple[Row, ...]
    training: int


@dataclass(slots=True)
class _Member:
    number: int
    name: str = ""

    @property
    def shown(self) -> str:
        return self.name or f"Someone {self.number}"


@dataclass(slots=True)
class _Listener:
    visitor: str
    wake: Callable[[], None]


@dataclass(slots=True)
class Room:
    """Every method may be called from any thread.

    begun, touched: when it was started, and when somebody last did something, by the registry's clock
    """

    code: str
    place: str
    begun: float
    touched: float
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    over: str = ""  # why it ended, once it has
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _version: int = 1
    _mover: str = ""
    _members: dict[str, _Member] = field(default_factory=dict)
    _ballots: dict[str, Ballot] = field(default_factory=dict)
    _asked: int = 0
    _board: Leaderboard = field(default_factory=Leaderboard)
    _listeners: dict[int, _Listener] = field(default_factory=dict)
    _listened: int = 0

    # What the presenter does

    def move(self, place: str, page: str, poll: Poll | None) -> int:
        """Go to a place; returns the version from which on it holds. Raises InputError for one that does not exist.

        poll: what the stage asks its audience, if anything. It opens when its beat is reached, and closes for good at
        the stage's first later beat; going elsewhere in between only interrupts it.
        """
        stage, beat = parsed(place)
        with self._lock:
            self.place, self._mover = place, page
            ballot = self._ballots.get(stage)
            if beat == "predict" and ballot is None and poll is not None:
                self._open(stage, poll)
            elif beat in BEATS[2:] and ballot is not None:
                ballot.open = False
            return self._changed()

    def ask_again(self, poll: Poll | None) -> None:
        """Forget the votes of the stage's question and open it again. Raises InputError where nothing is asked."""
        with self._lock:
            stage, beat = parsed(self.place)
            if beat != "predict" or poll is None:
                raise InputError("nothing is asked here", _WHERE, "Go to the beat that asks the room first.")
            self._open(stage, poll)
            self._changed()

    def settle(self, stage: str, outcome: int) -> None:
        """Say which choice of the stage's question came true. Without a question there is nothing to settle."""
        with self._lock:
            ballot = self._ballots.get(stage)
            if ballot is not None and ballot.outcome != outcome:
                ballot.settle(outcome)
                self._changed()

    @property
    def unsettled(self) -> str:
        """The stage whose question has just been closed and waits for what came true; "" for none."""
        with self._lock:
            ballot = self._here()
            return ballot.stage if ballot and not ballot.open and ballot.outcome is None else ""

    def unname(self, number: int) -> None:
        """Take a typed name off the board."""
        with self._lock:
            for member in self._members.values():
                if member.number == number:
                    member.name = ""
            self._changed()

    def end(self, why: str) -> None:
        """Forget everything and tell whoever follows."""
        with self._lock:
            self.over = self.over or why
            self._members.clear()
            self._ballots.clear()
            self._board = Leaderboard()
            self._changed()

    # What members do

    def join(self, visitor: str) -> int:
        """Become a member, or come back as the one that the visitor was; returns the number."""
        with self._lock:
            member = self._members.get(visitor)
            if member is None:
                if len(self._members) >= MAX_MEMBERS:
                    raise InputError(f"{MAX_MEMBERS} people are in this room", _WHERE, "It takes no more.")
                member = self._members[visitor] = _Member(len(self._members) + 1)
            return member.number

    def rename(self, visitor: str, name: str) -> str:
        """Take a name for the leaderboard, or with "" give it up; returns how the member is shown."""
        with self._lock:
            member = self._member(visitor)
            wanted = cleaned(name)
            others = {other.shown.casefold() for other in self._members.values() if other is not member}
            if wanted and wanted.casefold() in others:
                raise InputError(f"somebody here is '{wanted}' already", "Name", "Choose another.")
            member.name = wanted
            self._changed()
            return member.shown

    def leave(self, visitor: str) -> None:
        """Give up the name. The vote stays counted, and who comes back has no second one."""
        with self._lock:
            if visitor in self._members:
                self._members[visitor].name = ""
                self._changed(PRESENTER)

    def vote(self, visitor: str, number: int, choice: int) -> None:
        """Count the member for that choice of the question of that number. Raises InputError when it is over."""
        with self._lock:
            self._member(visitor)
            ballot = self._here()
            if ballot is None or ballot.number != number:
                raise InputError("this question is over", "Prediction", "Wait for the next one.")
            ballot.vote(visitor, choice)
            # The others' views hold nothing of an open vote.
            self._changed(PRESENTER, visitor)

    def ran(self, visitor: str, run_id: str) -> None:
        """Count a run that the member started. Raises InputError for somebody else's."""
        with self._lock:
            self._member(visitor)
            if self._board.claim(visitor, run_id):
                self._changed()

    # Whoever reads the runs

    def unfinished(self) -> tuple[str, ...]:
        """Runs of members that may have come further."""
        with self._lock:
            return self._board.unfinished()

    def note(self, run_id: str, result: Result | None) -> None:
        """Where a run stands; None when it is gone."""
        with self._lock:
            if self._board.forget(run_id) if result is None else self._board.note(run_id, result):
                self._changed()

    # Whoever follows

    def view(self, visitor: str) -> RoomView:
        """The room as this member, or the PRESENTER, may see it. Raises InputError when it is over."""
        with self._lock:
            presenter = visitor == PRESENTER
            member = None if presenter else self._member(visitor)
            ballot = self._here()
            rows = self._board.rows({who: (one.number, one.shown) for who, one in self._members.items()})
            return RoomView(
                version=self._version,
                code=self.code,
                place=self.place,
                mover=self._mover if presenter else "",
                here=self.here if presenter else None,
                member=member.number if member else 0,
                name=member.name if member else "",
                question=ballot.view(visitor, presenter) if ballot else None,
                board=tuple(row for row in rows if row.place <= SHOWN or (member and row.member == member.number)),
                training=self._board.training(),
            )

    @contextlib.contextmanager
    def followed(self, visitor: str, wake: Callable[[], None]) -> Iterator[None]:
        """Call `wake` after every change that this person can see. Raises InputError for too many pages of one."""
        with self._lock:
            pages = sum(one.visitor == visitor for one in self._listeners.values())
            if visitor != PRESENTER:
                self._member(visitor)
            if pages >= MAX_FOLLOWED:
                raise InputError(f"{pages} pages of yours follow this room", _WHERE, "Close one of them.")
            self._listened += 1
            key = self._listened
            self._listeners[key] = _Listener(visitor, wake)
            self._changed(PRESENTER)
        try:
            yield
        finally:
            with self._lock:
                del self._listeners[key]
                self._changed(PRESENTER)

    @property
    def here(self) -> int:
        """Members who have the page open."""
        with self._lock:
            return len({one.visitor for one in self._listeners.values()} - {PRESENTER})

    @property
    def followers(self) -> int:
        """Pages that are open, the presenter's too."""
        with self._lock:
            return len(self._listeners)

    def knows(self, visitor: str) -> bool:
        """Whether the visitor has joined."""
        with self._lock:
            return visitor in self._members

    # Behind it

    def _open(self, stage: str, poll: Poll) -> None:
        self._asked += 1
        self._ballots[stage] = Ballot(self._asked, stage, poll)

    def _here(self) -> Ballot | None:
        """The question of the stage that the presenter is in, from the beat on that asks it."""
        stage, beat = parsed(self.place)
        return self._ballots.get(stage) if beat in BEATS[1:] else None

    def _member(self, visitor: str) -> _Member:
        if self.over:
            raise InputError(self.over.rstrip("."), _WHERE)
        if visitor not in self._members:
            raise InputError("you are not in this room", _WHERE, "Join it by its code.")
        return self._members[visitor]

    def _changed(self, *who: str) -> int:
        """Tell these, or with none named everybody, that there is something new."""
        self._version += 1
        for listener in list(self._listeners.values()):
            if not who or listener.visitor in who:
                listener.wake()
        return self._version


def parsed(place: str) -> tuple[str, str]:
    """("lora", "proof") of "lora.proof", ("lora", "") of "lora". Raises InputError for another text."""
    stage, _, beat = place.partition(".")
    if stage not in {one.key for one in STAGES} or (beat and beat not in BEATS) or place.endswith("."):
        raise InputError(f"'{place[:40]}' is no place of the lesson", "Place", "Write a stage and a beat: lora.proof.")
    return stage, beat


def cleaned(name: str) -> str:
    """A typed name as it is shown: one line, without control characters. Raises InputError for a long one."""
    visible = "".join(
        character if unicodedata.category(character)[0] not in "CZ" else " "
        for character in unicodedata.normalize("NFC", name)
    )
    one_line = " ".join(visible.split())
    if len(one_line) > MAX_NAME:
        raise InputError(f"{len(one_line)} characters", "Name", f"Use up to {MAX_NAME}.")
    return one_line
