from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.models import ModelManager
from pipelines.settings import Settings
from pipelines.teaching import preparing
from pipelines.teaching.places import parse_place
from pipelines.teaching.preparing import Preparing
from pipelines.teaching.records import Demonstration


class Run:
    """In place of what really runs: counts, and goes on only when it may."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.may_end = threading.Event()
        self.half = threading.Event()

    def __call__(self, stage: str, manager: Any, runs: Any) -> Iterator[Demonstration]:
        self.began.append(stage)
        yield Demonstration(stage, conclusion="half")
        self.half.set()
        assert self.may_end.wait(20)
        yield Demonstration(stage, conclusion="whole", outcome=1, done=True)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    run = Run()
    monkeypatch.setattr(preparing, "demonstrating", run)
    monkeypatch.setattr(Preparing, "drawing", lambda self, place: preparing.Drawn(done=True))
    return run


@pytest.fixture
def prepared() -> Preparing:
    return Preparing(ModelManager(Settings()))


def test_however_many_ask_it_runs_once_and_is_shown_as_it_grows(run: Run, prepared: Preparing) -> None:
    place = parse_place("problem.demonstration")
    got: list[Demonstration] = []
    waiting = [threading.Thread(target=lambda: got.append(prepared.ready(place))) for _ in range(8)]
    for thread in waiting:
        thread.start()
    assert run.half.wait(20)
    assert (prepared.now(place).conclusion, prepared.now(place).done) == ("half", False)
    run.may_end.set()
    for thread in waiting:
        thread.join(20)
    assert [one.conclusion for one in got] == ["whole"] * 8
    prepared.ahead(place)
    assert prepared.ready(place).outcome == 1
    assert run.began == ["problem"]


@pytest.mark.parametrize(
    "name, begun",
    [
        ("problem.analogy", "problem"),
        ("problem.predict", "problem"),
        ("problem.proof", None),
        ("problem.remember", "sft"),
        ("base-vs-chat.remember", None),
    ],
)
def test_a_place_begins_what_is_shown_next_and_a_proof_is_left_alone(
    run: Run, prepared: Preparing, name: str, begun: str | None
) -> None:
    run.may_end.set()
    prepared.ahead(parse_place(name))
    if begun:
        assert prepared.ready(parse_place(f"{begun}.demonstration")).done
    assert run.began == ([begun] if begun else [])


def test_a_fault_is_shown_and_tried_again_when_asked_again(
    monkeypatch: pytest.MonkeyPatch, prepared: Preparing
) -> None:
    tries: list[str] = []

    def fails(stage: str, manager: Any, runs: Any) -> Iterator[Demonstration]:
        tries.append(stage)
        raise RuntimeError("no such device")
        yield

    monkeypatch.setattr(preparing, "demonstrating", fails)
    place = parse_place("sft.demonstration")
    shown = prepared.ready(place)
    assert (shown.done, shown.limits) == (True, ("It could not be run: no such device",))
    prepared.ready(place)
    assert tries == ["sft", "sft"]
