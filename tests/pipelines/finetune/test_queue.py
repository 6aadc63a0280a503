"""How many runs one visitor may have, how many the studio, and how long a run waits."""

import threading
from dataclasses import replace

import pytest

from pipelines.errors import InputError
from pipelines.finetune.prediction import Prediction
from pipelines.finetune.queue import Visitors, rest, wait
from pipelines.visiting import CLASSROOM, PUBLIC
from tests.components.widgets.test_runs import run_view

PER_VISITOR, LENGTH = CLASSROOM.runs_of_one, CLASSROOM.runs


def start(visitors, run_id, visitor):
    with visitors.admit(visitor) as admitted:
        admitted(run_id)


def test_a_visitor_has_so_many_runs_and_is_told_which():
    running = [f"{n:016x}" for n in range(PER_VISITOR)]
    visitors = Visitors(lambda: running)
    for run_id in running:
        start(visitors, run_id, "anna")
    with pytest.raises(InputError, match=r"3 runs of yours wait or train already.*stop one \(000000, 000000, 000000\)"):
        start(visitors, "f" * 16, "anna")
    start(visitors, "e" * 16, "ben")
    start(visitors, "d" * 16, "")
    running.pop()  # it ended
    start(visitors, "c" * 16, "anna")


def test_one_run_at_a_time_is_said_as_one():
    visitors = Visitors(lambda: ["0" * 16], PUBLIC)
    start(visitors, "0" * 16, "anna")
    with pytest.raises(InputError, match=r"one run of yours waits or trains already.*stop one \(000000\)"):
        start(visitors, "f" * 16, "anna")


def test_nobody_in_particular_is_not_limited_but_the_studio_is():
    running = []
    visitors = Visitors(lambda: running)
    for number in range(LENGTH):
        start(visitors, f"{number:016x}", "")
        running.append(f"{number:016x}")
    with pytest.raises(InputError, match=f"{LENGTH} runs wait or train in this studio already"):
        start(visitors, "f" * 16, "new")


def test_presses_at_the_same_time_are_counted_while_their_runs_are_prepared():
    running, refused, gate = [], [], threading.Barrier(8)
    visitors = Visitors(lambda: list(running))

    def press(number):
        gate.wait()
        try:
            with visitors.admit("anna") as admitted:
                gate_inside.wait(0.2)
                admitted(f"{number:016x}")
                running.append(f"{number:016x}")
        except InputError:
            refused.append(number)

    gate_inside = threading.Event()
    threads = [threading.Thread(target=press, args=(number,)) for number in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert (len(running), len(refused)) == (PER_VISITOR, 8 - PER_VISITOR)


def test_a_run_may_be_admitted_while_another_visitors_press_is_checked():
    """A class that presses Start in the same second changes the book of visitors while it is read."""
    inside = []

    class Unfinished(list):
        def __contains__(self, run_id):
            for admit in inside[:1]:
                inside.clear()
                thread = threading.Thread(target=admit, args=("b" * 16,))
                thread.start()
                thread.join(0.2)
            return True

    visitors = Visitors(lambda: Unfinished(["a" * 16]))
    start(visitors, "a" * 16, "anna")
    start(visitors, "c" * 16, "cleo")
    with visitors.admit("ben") as admitted:
        inside.append(admitted)
        start(visitors, "d" * 16, "dora")


def test_a_run_that_could_not_be_prepared_takes_no_place():
    visitors = Visitors(lambda: [])
    for _ in range(2 * PER_VISITOR):
        with pytest.raises(InputError, match="nothing"), visitors.admit("anna"):
            raise InputError("nothing", "data")


def test_the_wait_is_the_rest_of_the_runs_before():
    waiting = replace(run_view(status="queued", step=0, points=(), seconds=0.0), prediction=Prediction(20.0, None))
    begun = replace(run_view(points=(), seconds=5.0), prediction=Prediction(20.0, None))
    late = replace(begun, seconds=50.0)
    assert [rest(view) for view in (waiting, begun, late)] == [20.0, 15.0, 0.0]
    at_its_own_pace = run_view()
    assert rest(at_its_own_pace) == at_its_own_pace.seconds_left is not None
    assert wait([begun, waiting]) == 35.0
    assert wait([begun, waiting], at_once=2) == 17.5
    assert wait([]) == 0.0
    assert wait([begun, replace(waiting, prediction=None)]) is None
