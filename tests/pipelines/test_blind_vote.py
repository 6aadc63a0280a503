"""A room that votes: everybody once, nobody told who wrote what before, and a tally that adds up."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from pipelines.blind_vote import IDLE, MAX_VOTERS, TIE, BlindVote, Entry
from pipelines.errors import InputError
from pipelines.experiments.statistics import wilson

ENTRIES = [Entry("a", "Anna", "one"), Entry("b", "Bert", "two"), Entry("c", "Cleo", "three")]


@pytest.fixture
def clock():
    now = [0.0]
    return now


@pytest.fixture
def room(clock):
    return BlindVote(clock=lambda: clock[0])


def opened(room, entries=ENTRIES, asker="teacher"):
    number = room.ask(asker, "Which?", len(entries))
    room.present(number, entries)
    return number


def place_of(room, text, visitor="nobody"):
    return room.view(visitor).texts.index(text)


def test_nobody_who_has_not_voted_sees_a_name_or_who_is_ahead(room):
    number = opened(room)
    room.vote("ann", number, place_of(room, "one"))
    hidden, shown = room.view("bob"), room.view("ann")
    assert (hidden.names, hidden.counts, hidden.ties, hidden.choice, hidden.votes) == ((), (), 0, None, 1)
    assert "Anna" not in repr(hidden)
    assert dict(zip(shown.texts, shown.names, strict=True)) == {"one": "Anna", "two": "Bert", "three": "Cleo"}
    assert shown.counts[shown.texts.index("one")] == 1 and sum(shown.counts) == 1


def test_the_order_is_another_from_question_to_question(room):
    orders = Counter()
    for _ in range(60):
        room.reveal("teacher", number := opened(room))
        assert number == room.view("x").number
        orders[room.view("x").texts] += 1
    assert len(orders) == 6  # each of six has a chance of one in 10^4 to be missing


def test_sixty_threads_that_vote_twice_are_counted_once_each(room):
    number = opened(room)
    winner = place_of(room, "two")
    refused = []
    gate = threading.Barrier(60)

    def visit(name):
        gate.wait()
        for _ in range(2):
            try:
                room.vote(name, number, winner if int(name) % 3 else TIE)
            except InputError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=visit, args=(str(name),)) for name in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert room.view("1").votes == 60 and len(refused) == 60
    assert set(refused) == {"Blind vote: you have voted on this question. Each visitor has one vote."}
    standings, ties = room.standings()
    first = standings[0]
    assert (first.title, first.wins, first.votes, ties) == ("Bert", 40, 60, 20)
    assert (first.low, first.high) == wilson(40, 60)
    assert [(one.wins, one.votes) for one in standings[1:]] == [(0, 60), (0, 60)]


def test_the_tally_goes_on_over_questions_with_other_models(room):
    first = opened(room)
    room.vote("ann", first, place_of(room, "one"))
    second = opened(room, [ENTRIES[0], Entry("d", "Dora", "four")])
    room.vote("ann", second, place_of(room, "four"))
    room.vote("bob", second, place_of(room, "four"))
    found = {one.title: (one.wins, one.votes) for one in room.standings()[0]}
    assert found == {"Dora": (2, 2), "Anna": (1, 3), "Bert": (0, 1), "Cleo": (0, 1)}
    with pytest.raises(InputError, match="this question is over"):
        room.vote("bob", first, 0)


def test_the_asker_closes_the_vote_for_all_and_begins_a_new_tally(room):
    number = opened(room)
    room.vote("ann", number, 0)
    for forbidden in (room.reveal, room.reset):
        with pytest.raises(InputError, match="only who asked"):
            forbidden("ann", number)
    room.reveal("teacher", number)
    assert room.view("bob").names and room.view("bob").stage == "revealed"
    with pytest.raises(InputError, match="is over"):
        room.vote("bob", number, 0)
    room.reset("teacher", number)
    assert room.view("ann") is None and room.standings() == ((), 0)


def test_a_question_that_is_voted_on_is_replaced_by_its_asker_or_when_all_have_left(room, clock):
    opened(room)
    with pytest.raises(InputError, match="another question is being voted on"):
        room.ask("student", "Mine?", 2)
    opened(room)  # the asker may
    clock[0] = IDLE + 1
    assert room.ask("student", "Mine?", 2) == 3


def test_while_models_write_there_is_nothing_to_vote_on(room):
    number = room.ask("teacher", "Which?", 3)
    assert room.view("x").stage == "writing" and room.view("x").texts == ()
    with pytest.raises(InputError, match="has not begun"):
        room.vote("x", number, 0)
    room.withdraw(number)
    assert room.view("x") is None


def test_one_answer_is_no_choice(room):
    number = room.ask("teacher", "Which?", 2)
    with pytest.raises(InputError, match="fewer than two models answered"):
        room.present(number, ENTRIES[:1], ["Bert"])
    assert room.view("x") is None


def test_a_failed_model_is_named_after_the_vote_only(room):
    number = room.ask("teacher", "Which?", 3)
    room.present(number, ENTRIES[:2], ["Cleo"])
    assert room.view("x").failed == ()
    room.vote("x", number, TIE)
    assert room.view("x").failed == ("Cleo",)


@pytest.mark.parametrize("place", [-2, 3, 99])
def test_a_vote_for_an_answer_that_is_not_there_is_refused(room, place):
    number = opened(room)
    with pytest.raises(InputError, match="there is no answer"):
        room.vote("x", number, place)


def test_the_voters_of_a_question_are_bounded(room):
    number = opened(room)
    for visitor in range(MAX_VOTERS):
        room.vote(str(visitor), number, 0)
    with pytest.raises(InputError, match=f"{MAX_VOTERS} have voted"):
        room.vote("late", number, 0)
