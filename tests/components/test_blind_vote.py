"""The vote as its pages get it: markup without names before the vote, looks that send nothing twice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from components.blind_vote import looker, presser
from components.widgets.votes import round_html, tally_html
from pipelines.blind_vote import BlindVote, Entry

TEACHER, STUDENT = "0" * 32, "1" * 32
BAD = "<img src=x onerror=alert(1)>"


@pytest.fixture
def vote() -> BlindVote:
    vote = BlindVote()
    number = vote.ask(TEACHER, f"Which? {BAD}", 2)
    vote.present(number, [Entry("a", f"Anna {BAD}", BAD), Entry("b", "Bert", "")])
    return vote


def event(pressed: str, visitor: str = STUDENT, number: int = 1) -> Any:
    return SimpleNamespace(vote=pressed, round=number, visitor=visitor)


def test_names_come_with_the_vote_and_everything_is_escaped(vote: BlindVote) -> None:
    _, question, tally = looker(vote)(STUDENT, "")
    assert "Anna" not in question + tally and "Bert" not in question + tally
    assert "A is best" in question and "B is best" in question and "A tie" in question
    _, question, tally = presser(vote)(event("1"))
    assert "Anna" in question and "Bert" in question and "your vote" in question
    assert "1 of 1 vote" in tally and "data-vote" not in question + tally
    assert "<img" not in question + tally


def test_a_look_that_finds_nothing_new_sends_nothing(vote: BlindVote) -> None:
    look = looker(vote)
    seen, _, _ = look(STUDENT, "")
    assert look(STUDENT, seen) == (gr.skip(), gr.skip(), gr.skip())
    presser(vote)(event("0", TEACHER))
    now, question, tally = look(STUDENT, seen)
    # The question stays, with whatever a hand or a cursor rests on; only the count has changed.
    assert now != seen and question == gr.skip() and "1 vote on this question" in tally


def test_only_the_page_that_asked_offers_to_reveal_and_to_begin_anew(vote: BlindVote) -> None:
    assert "Reveal to all" not in looker(vote)(STUDENT, "")[2]
    assert "Reveal to all" in looker(vote)(TEACHER, "")[2]
    with pytest.raises(gr.Error, match="only who asked"):
        presser(vote)(event("reveal"))
    _, question, tally = presser(vote)(event("reveal", TEACHER))
    assert "The vote is closed." in question and "New tally" in tally
    assert presser(vote)(event("reset", TEACHER))[1:] == ("", "")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (event("first"), "'first' is no answer"),
        (event("7"), "there is no answer 7"),
        (event("0", "' or 1=1"), "no id to be counted by"),
        (event("0", STUDENT, 9), "this question is over"),
    ],
)
def test_a_forged_press_is_a_sentence(vote: BlindVote, wrong: Any, message: str) -> None:
    with pytest.raises(gr.Error, match=message):
        presser(vote)(wrong)


def test_while_models_write_their_number_is_all_there_is() -> None:
    vote = BlindVote()
    vote.ask(TEACHER, "Which?", 3)
    view = vote.view(STUDENT)
    assert view is not None and "3 models are writing" in round_html(view)
    assert tally_html(view, (), 0) == ""
