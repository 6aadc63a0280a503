"""Rooms: codes and limits, and that every vote is counted once whatever the order of things."""

from __future__ import annotations

import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pipelines.errors import InputError
from pipelines.teaching import rooms as registry
from pipelines.teaching.ballots import Poll
from pipelines.teaching.leaderboard import Result
from pipelines.teaching.room import MAX_MEMBERS, PRESENTER, Room, cleaned, parsed
from pipelines.teaching.rooms import RoomGoneError, Rooms

POLL = Poll("What will the base model write?", ("An answer", "More questions", "Nothing"))
VISITORS = [f"{number:032x}" for number in range(6)]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rooms(clock: Clock) -> Rooms:
    return Rooms(clock)


@pytest.fixture
def room(rooms: Rooms) -> Room:
    return rooms.start("problem")


def asked(room: Room) -> int:
    """Opens the question of the first stage; its number."""
    room.move("problem.predict", "page", POLL)
    question = room.view(PRESENTER).question
    assert question is not None
    return question.number


# ---- Predictions


class Votes(RuleBasedStateMachine):
    """A room against the simplest account of its votes: a dictionary that the reveal closes."""

    @initialize()
    def begin(self) -> None:
        self.room = Rooms().start("problem")
        self.expected: dict[str, int] = {}
        self.joined: set[str] = set()
        self.opened = self.closed = False
        self.at_question = False

    def number(self) -> int:
        question = self.room.view(PRESENTER).question
        return question.number if question else 0

    @rule(visitor=st.sampled_from(VISITORS))
    def join(self, visitor: str) -> None:
        self.room.join(visitor)
        self.joined.add(visitor)

    @rule(visitor=st.sampled_from(VISITORS))
    def leave(self, visitor: str) -> None:
        self.room.leave(visitor)

    @rule(visitor=st.sampled_from(VISITORS), choice=st.integers(-1, 3))
    def vote(self, visitor: str, choice: int) -> None:
        allowed = visitor in self.joined and self.at_question and not self.closed and 0 <= choice < 3
        try:
            self.room.vote(visitor, self.number(), choice)
        except InputError:
            assert not allowed
        else:
            assert allowed
            self.expected[visitor] = choice

    @rule(beat=st.sampled_from(["analogy", "predict", "demonstration", "proof", "remember"]))
    def move(self, beat: str) -> None:
        self.room.move(f"problem.{beat}", "page", POLL)
        self.at_question = beat == "predict" or (beat != "analogy" and self.opened)
        self.opened = self.opened or beat == "predict"
        self.closed = self.closed or (self.opened and beat in ("demonstration", "proof", "remember"))

    @rule(place=st.sampled_from(["sft", "sft.proof", "problem"]))
    def go_elsewhere(self, place: str) -> None:
        self.room.move(place, "page", None)
        self.at_question = False

    @rule()
    def ask_again(self) -> None:
        try:
            self.room.ask_again(POLL)
        except InputError:
            assert self.room.place != "problem.predict"
        else:
            self.expected, self.closed = {}, False

    @rule(outcome=st.integers(0, 2))
    def settle(self, outcome: int) -> None:
        self.room.settle("problem", outcome)

    @invariant()
    def every_vote_is_counted_once(self) -> None:
        for who in (PRESENTER, *self.joined):
            question = self.room.view(who).question
            if question is None:
                assert not self.at_question
                continue
            assert question.open is not self.closed
            assert question.mine == self.expected.get(who)
            if self.closed:
                cast = list(self.expected.values())
                assert question.counts == tuple(cast.count(choice) for choice in range(3))
                assert question.voted == len(cast) == sum(question.counts)
                assert question.outcome is None or question.right == cast.count(question.outcome)
            else:
                assert question.counts == () and question.outcome is question.right is None
                assert question.voted == (len(self.expected) if who == PRESENTER else None)


TestVotes = Votes.TestCase
TestVotes.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_votes_of_many_threads_at_once_are_all_counted(room: Room) -> None:
    number = asked(room)
    people = [f"{number:032x}" for number in range(60)]

    def take_part(place: int, visitor: str) -> None:
        room.join(visitor)
        for choice in (0, 1, 2, place % 3):
            room.vote(visitor, number, choice)

    threads = [threading.Thread(target=take_part, args=one) for one in enumerate(people)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    room.move("problem.demonstration", "page", POLL)
    question = room.view(PRESENTER).question
    assert question is not None and question.counts == (20, 20, 20)


def test_a_vote_on_its_way_when_the_room_is_asked_again_is_not_counted_for_the_new_question(room: Room) -> None:
    number = asked(room)
    room.join(VISITORS[0])
    room.ask_again(POLL)
    with pytest.raises(InputError, match="this question is over"):
        room.vote(VISITORS[0], number, 1)


def test_a_late_vote_is_told_so(room: Room) -> None:
    number = asked(room)
    room.join(VISITORS[0])
    room.move("problem.demonstration", "page", POLL)
    with pytest.raises(InputError, match=r"the vote is over\. Wait for the next question"):
        room.vote(VISITORS[0], number, 1)


# ---- Following


def test_an_open_vote_wakes_nobody_but_the_presenter_and_who_cast_it(room: Room) -> None:
    number = asked(room)
    woken: list[str] = []
    for visitor in VISITORS[:3]:
        room.join(visitor)
    with (
        room.followed(PRESENTER, lambda: woken.append("presenter")),
        room.followed(VISITORS[0], lambda: woken.append("voter")),
        room.followed(VISITORS[1], lambda: woken.append("another")),
    ):
        woken.clear()
        room.vote(VISITORS[0], number, 1)
        assert sorted(woken) == ["presenter", "voter"]
        woken.clear()
        room.move("problem.demonstration", "page", POLL)
        assert sorted(woken) == ["another", "presenter", "voter"]
        assert room.here == 2
    assert room.here == 0


def test_versions_only_grow_and_a_move_says_from_which_one_it_holds(room: Room) -> None:
    before = room.view(PRESENTER).version
    version = room.move("lora.proof", "page", None)
    assert before < version <= room.view(PRESENTER).version
    assert room.view(PRESENTER).place == "lora.proof"


@pytest.mark.parametrize("place", ["", "lora.", "lora.prof", "lora.proof.more", "nowhere", "." * 100])
def test_a_place_that_does_not_exist_is_refused(room: Room, place: str) -> None:
    with pytest.raises(InputError, match="is no place of the lesson"):
        room.move(place, "page", None)
    assert parsed("base-vs-chat.remember") == ("base-vs-chat", "remember")


# ---- Names and the leaderboard


def test_names_are_cleaned_and_taken_once(room: Room) -> None:
    room.join(VISITORS[0])
    room.join(VISITORS[1])
    assert room.rename(VISITORS[0], "  Ada \u202e\n Lovelace ") == "Ada Lovelace"
    with pytest.raises(InputError, match="somebody here is 'ADA LOVELACE' already"):
        room.rename(VISITORS[1], "ADA LOVELACE")
    with pytest.raises(InputError, match="somebody here is 'Someone 2' already"):
        room.rename(VISITORS[0], "Someone 2")
    assert room.rename(VISITORS[0], "") == "Someone 1"
    with pytest.raises(InputError, match="25 characters"):
        cleaned("x" * 25)


def result(accuracy: float | None, step: int = 40, ended: bool = True) -> Result:
    return Result(accuracy, 96, step, 40, "lora r=8", ended)


def test_the_leaderboard_shows_the_best_run_of_each_and_equals_share_a_place(room: Room) -> None:
    for visitor in VISITORS[:4]:
        room.join(visitor)
    for visitor, run, accuracy, step in [(0, "a", 0.5, 40), (0, "b", 0.9, 40), (1, "c", 0.95, 40), (2, "d", 0.9, 20)]:
        room.ran(VISITORS[visitor], run)
        room.note(run, result(accuracy, step))
    room.ran(VISITORS[3], "e")
    room.note("e", result(None, 0, ended=False))
    view = room.view(PRESENTER)
    assert [(row.place, row.name, row.accuracy, row.runs) for row in view.board] == [
        (1, "Someone 2", 0.95, 1),
        (2, "Someone 3", 0.9, 1),
        (2, "Someone 1", 0.9, 2),
    ]
    assert view.training == 1 and room.unfinished() == ("e",)
    room.note("e", None)
    assert room.unfinished() == ()


def test_a_run_counts_for_who_started_it(room: Room) -> None:
    room.join(VISITORS[0])
    room.join(VISITORS[1])
    room.ran(VISITORS[0], "a")
    room.ran(VISITORS[0], "a")
    with pytest.raises(InputError, match="somebody else's"):
        room.ran(VISITORS[1], "a")
    for number in range(19):
        room.ran(VISITORS[0], f"a{number}")
    with pytest.raises(InputError, match="20 runs in this room"):
        room.ran(VISITORS[0], "one more")


# ---- Codes, limits, and the end


def test_a_code_is_found_however_it_is_typed(rooms: Rooms, room: Room) -> None:
    assert len(room.code) == registry.LENGTH and set(room.code) <= set(registry.ALPHABET)
    assert rooms.find(f" {room.code[:2].lower()}-{room.code[2:]} ", VISITORS[0], "here") is room


def test_who_guesses_has_to_wait_and_who_is_in_does_not(rooms: Rooms, room: Room, clock: Clock) -> None:
    guesser, member = VISITORS[:2]
    room.join(member)
    for _ in range(registry.WRONG_BY_VISITOR):
        with pytest.raises(RoomGoneError, match="there is no room 'AAAAA'"):
            rooms.find("AAAAA", guesser, "there")
    with pytest.raises(InputError, match="too many wrong codes"):
        rooms.find(room.code, guesser, "there")
    assert rooms.find(room.code, VISITORS[2], "there") is room
    for number in range(registry.WRONG_BY_ADDRESS):
        with pytest.raises(InputError):
            rooms.find("AAAAA", f"{number:032x}", "there")
    with pytest.raises(InputError, match="too many wrong codes"):
        rooms.find(room.code, VISITORS[3], "there")
    assert rooms.find(room.code, member, "there") is room
    assert rooms.presented(room.code, room.token, "there") is room
    clock.now += registry.MINUTE
    assert rooms.find(room.code, guesser, "there") is room
    assert rooms._wrong == {}


def test_only_the_token_presents(rooms: Rooms, room: Room) -> None:
    room.join(VISITORS[0])
    for token in ("", "wrong", rooms.start("problem").token):
        with pytest.raises(InputError, match="only the presenter can do this"):
            rooms.presented(room.code, token, "here")


def test_a_studio_and_a_room_take_only_so_many(rooms: Rooms, room: Room) -> None:
    for number in range(MAX_MEMBERS):
        room.join(f"{number:032x}")
    with pytest.raises(InputError, match="200 people are in this room"):
        room.join("f" * 32)
    assert room.join(f"{7:032x}") == 8
    for _ in range(registry.MAX_ROOMS - 1):
        rooms.start("problem")
    with pytest.raises(InputError, match="20 rooms are open"):
        rooms.start("problem")


def test_a_browser_has_three_rooms_and_is_told_which(rooms: Rooms) -> None:
    own = [rooms.start("problem", VISITORS[0]) for _ in range(registry.MAX_OF_ONE)]
    with pytest.raises(InputError, match="3 rooms of yours are open") as refused:
        rooms.start("problem", VISITORS[0])
    assert all(room.code in str(refused.value) for room in own)
    rooms.start("problem", VISITORS[1])
    rooms.end(own[0])
    assert rooms.start("problem", VISITORS[0])


def test_a_room_ends_by_its_presenter_and_keeps_nothing(rooms: Rooms, room: Room) -> None:
    number = asked(room)
    room.join(VISITORS[0])
    room.rename(VISITORS[0], "Ada")
    room.vote(VISITORS[0], number, 1)
    woken: list[bool] = []
    with room.followed(VISITORS[0], lambda: woken.append(True)):
        rooms.end(room)
    assert woken and not room.knows(VISITORS[0])
    assert "Ada" not in repr(room)
    with pytest.raises(InputError, match="The presenter has ended the room"):
        room.view(VISITORS[0])
    with pytest.raises(RoomGoneError):
        rooms.find(room.code, VISITORS[0], "here")


def test_a_room_ends_when_nobody_was_there_for_half_an_hour_or_after_twelve(rooms: Rooms, clock: Clock) -> None:
    empty, full = rooms.start("problem"), rooms.start("problem")
    full.join(VISITORS[0])
    with full.followed(VISITORS[0], lambda: None):
        clock.now += registry.EMPTY - 1
        assert rooms.sweep() == 2
        clock.now += 1
        assert rooms.sweep() == 1
        assert "half an hour" in empty.over and not full.over
        clock.now += registry.LONGEST
        assert rooms.sweep() == 0
        assert "twelve hours" in full.over
