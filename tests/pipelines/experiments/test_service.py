"""Queue, sharing and ending, with real processes on the tiny pair: its experiments run, whatever their verdict."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import InputError
from pipelines.experiments import ExperimentService, run
from pipelines.experiments.service import State, Ticket

PATIENCE = 120.0


def members(group: int) -> list[int]:
    """Processes of that group, the ended ones left out."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            after = entry.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(after[2]) == group and after[0] != "Z":
            found.append(int(entry.parent.name))
    return found


def until(ticket: Ticket, reached: Callable[[State], bool]) -> State:
    limit = time.monotonic() + PATIENCE
    while not reached(state := ticket.state()):
        assert time.monotonic() < limit, state
        time.sleep(0.05)
    return state


@pytest.fixture
def service(tiny_pair: Any) -> Iterator[ExperimentService]:
    service = ExperimentService(tiny_pair.settings)
    yield service
    service.close()


def group_of(service: ExperimentService) -> int:
    process = service._jobs[0].process
    assert process is not None
    return process.pid


@pytest.mark.slow
def test_a_report_comes_and_is_kept_for_the_same_seed_only(service: ExperimentService, tiny_pair: Any) -> None:
    state = until(service.ask("problem", 1), lambda state: state.report is not None)
    assert not state.kept and state.report is not None
    assert state.report.claim.stage == "problem" and state.report.seed == 1
    again = ExperimentService(tiny_pair.settings).ask("problem", 1).state()
    assert again.kept and again.report == state.report
    other = service.ask("problem", 2)
    assert other.state().report is None
    other.leave()


@pytest.mark.slow
def test_who_asks_for_the_same_shares_it_and_who_asks_for_another_waits(service: ExperimentService) -> None:
    first, same, other, last = (service.ask("problem", seed) for seed in (1, 1, 2, 3))
    until(first, lambda state: state.status == "running")
    group = group_of(service)
    assert [ticket.state().place for ticket in (first, same, other, last)] == [0, 0, 1, 2]
    first.leave()
    assert same.state().status == "running" and members(group)
    same.leave()
    assert members(group) == []
    until(other, lambda state: state.status == "running")
    assert last.state().place == 1
    for ticket in (other, last):
        ticket.leave()
    assert service._jobs == []


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.0, 1.0, 4.0])
def test_cancelling_at_any_moment_leaves_nothing_running(service: ExperimentService, after: float) -> None:
    ticket = service.ask("problem", 7)
    until(ticket, lambda state: state.status == "running")
    group = group_of(service)
    time.sleep(after)
    ticket.leave()
    ticket.leave()
    assert members(group) == []


@pytest.mark.slow
def test_an_experiment_ends_with_the_studio_even_if_that_is_killed(service: ExperimentService) -> None:
    """A killed studio closes nothing itself; the system closes its end of the experiment's input."""
    ticket = service.ask("problem", 8)
    until(ticket, lambda state: state.progress is not None)
    group = group_of(service)
    process = service._jobs[0].process
    assert process is not None and process._process.stdin is not None
    os.close(os.dup(process._process.stdin.fileno()))  # another holder of the pipe changes nothing
    process._process.stdin.close()
    limit = time.monotonic() + 10
    while members(group):
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert "ended without a result" in until(ticket, lambda state: state.status == "failed").error


@pytest.mark.parametrize(
    "stage, seed, says",
    [
        ("problm", 0, "Did you mean 'problem'"),
        ("problem", -1, "seed: -1 is not possible"),
        ("problem", 2**40, "is not possible"),
        ("problem", float("nan"), "is not possible"),
        ("problem", 0.5, "0.5 is not a whole number"),
        ("problem", "1", "is not possible"),
    ],
)
def test_a_wrong_value_is_said_and_nothing_starts(service: ExperimentService, stage: str, seed: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        service.ask(stage, seed)
    assert service._jobs == []


@pytest.mark.slow
def test_the_queue_has_an_end(service: ExperimentService) -> None:
    tickets = []
    with pytest.raises(InputError, match="experiments are waiting"):
        for seed in range(100):
            tickets.append(service.ask("problem", seed))
    assert len(tickets) == 21
    for ticket in reversed(tickets):
        ticket.leave()
    assert service._jobs == []


@pytest.mark.slow
def test_a_pair_that_cannot_be_used_is_said_by_the_notebook_call() -> None:
    with pytest.raises(InputError, match="--pair"):
        run("problem", pair="no such pair")


_FORKING = """
import multiprocessing, threading, time
from pipelines.experiments.__main__ import _end_with_input
threading.Thread(target=_end_with_input, daemon=True).start()
time.sleep(0.3)
arm = multiprocessing.get_context("fork").Process(target=int)
arm.start()
arm.join(20)
print(arm.exitcode, flush=True)
"""


def test_an_arm_ends_while_the_studios_end_is_watched():
    """A forked process closes its standard input first, and may not wait for who reads from it in its parent."""
    with subprocess.Popen(
        [sys.executable, "-c", _FORKING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout.readline() == "0\n"
        process.stdin.close()
        process.wait(10)
