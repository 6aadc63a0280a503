"""What the layer of the lesson is told, and how long an experiment is held for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import gradio as gr
import pytest

from components.context import Studio
from components.presentation import planned, teller
from components.presentation_proofs import Proofs
from components.widgets.beats import beat_html, proof_part
from components.widgets.demonstrations import demonstration_html
from pipelines.experiments import experiment
from pipelines.experiments.records import Arm, Outcome, exactly
from pipelines.experiments.reports import Report
from pipelines.experiments.service import State
from pipelines.teaching.beats import beat_at, beats
from pipelines.teaching.places import PLACES, Place, parse_place
from pipelines.teaching.records import Demonstration, Said

REPORT = Report(
    experiment("lora").claim,
    Outcome("97 %", (Arm("r=4", 0.97, 0.94, 0.99, 100),), (exactly("more", 1.0, "at least", 0.5),)),
    seed=0, pair="pocket", seconds=12.0,
)  # fmt: skip


class Ticket:
    """In place of the service's: `where` is what it says, `left` how often it was left."""

    def __init__(self) -> None:
        self.where, self.left = State("running"), 0

    def state(self) -> State:
        return self.where

    def leave(self) -> None:
        self.left += 1


class Experiments:
    """In place of the service: hands out a ticket for each time it is asked."""

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []

    def ask(self, stage: str, seed: float = 0) -> Ticket:
        self.tickets.append(Ticket())
        return self.tickets[-1]


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_all_who_look_share_one_ticket_and_the_verdict_is_kept() -> None:
    experiments = Experiments()
    proofs = Proofs(experiments)  # type: ignore[arg-type]
    assert proofs.look("lora").status == proofs.look("lora").status == "running"
    assert len(experiments.tickets) == 1
    experiments.tickets[0].where = State("done", report=REPORT)
    assert proofs.look("lora").report == proofs.look("lora").report == REPORT
    assert (len(experiments.tickets), experiments.tickets[0].left) == (1, 1)


def test_an_experiment_that_nobody_looks_at_is_given_up_and_begins_anew() -> None:
    experiments = Experiments()
    proofs = Proofs(experiments, patience=0.1)  # type: ignore[arg-type]
    proofs.look("lora")
    until(lambda: experiments.tickets[0].left == 1)
    proofs.look("lora")
    assert len(experiments.tickets) == 2


def test_one_that_failed_says_so_once_and_begins_anew() -> None:
    experiments = Experiments()
    proofs = Proofs(experiments)  # type: ignore[arg-type]
    proofs.look("lora")
    experiments.tickets[0].where = State("failed", error="killed")
    assert proofs.look("lora").error == "killed"
    assert proofs.look("lora").status == "running"


@pytest.fixture
def tell(tiny_studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """The handler, its answer read; nothing is prepared by it."""
    monkeypatch.setattr(type(tiny_studio.preparing), "ahead", lambda self, place: None)
    monkeypatch.setattr(
        type(tiny_studio.preparing), "now", lambda self, place: Demonstration(place.stage, outcome=1, done=True)
    )
    handler = teller(tiny_studio)
    return lambda *asked: json.loads(handler(*asked))  # type: ignore[no-any-return]


def test_every_place_is_told_with_its_notes_apart_from_what_the_room_sees(
    tell: Callable[..., dict[str, Any]],
) -> None:
    for place in PLACES:
        said = tell(str(place), "ahead")
        assert said["place"] == str(place)
        assert said["notes"] and all(note not in said["html"] + said["part"] for note in said["notes"])
        assert said["seconds"] == beat_at(place).seconds


def test_looking_ahead_at_a_proof_starts_no_experiment(
    tiny_studio: Studio, tell: Callable[..., dict[str, Any]]
) -> None:
    said = tell("lora.proof", "ahead")
    assert (said["part"], said["done"]) == ("", False)
    assert "A few ranks do almost what full fine-tuning does" in said["html"]


def test_an_unknown_place_is_refused(tell: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(gr.Error, match=r"Did you mean 'lora\.proof'"):
        tell("lora.prof")


def test_the_plan_adds_up() -> None:
    assert planned(PLACES[0]) == beat_at(PLACES[0]).seconds
    assert planned(PLACES[-1]) == sum(beat.seconds for beat in beats().values())


def test_a_prediction_offers_its_choices_and_room_for_the_tally() -> None:
    html = beat_html(beat_at(parse_place("problem.predict")))
    assert html.count("data-choice=") == 3
    assert '<div data-room="predict"></div>' in html


def test_a_demonstration_marks_the_choice_that_came_true_and_escapes_what_models_write() -> None:
    shown = Demonstration("problem", answers=(Said("Base", "", text="<b>&", right=False),), outcome=1, done=True)
    html = demonstration_html(shown, ("Paris", "More <questions>"))
    assert '<li data-outcome="1" class=is-true>' in html
    assert "&lt;b&gt;&amp;" in html and "<b>" not in html and "More &lt;questions&gt;" in html
    assert 'data-room="outcome"' in beat_html(beat_at(Place("problem", "demonstration")))


def test_a_proof_is_shown_while_it_runs_and_with_its_verdict() -> None:
    claim = experiment("lora").claim
    assert 'role="progressbar"' in proof_part(claim, State("running"))
    verdict = proof_part(claim, State("done", report=REPORT, kept=True))
    assert "Holds" in verdict and "measured earlier" in verdict and "data-again" in verdict
