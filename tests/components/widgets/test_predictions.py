"""Predicted and measured, as a person reads them."""

from dataclasses import replace

import pytest

from components.widgets.predictions import compared_html, duration, prediction_html, size
from pipelines.finetune import Prediction
from pipelines.finetune.prediction import Measured
from tests.components.widgets.test_runs import run_view

PREDICTED = Prediction(20.0, 700 * 2**20, how="a step <timed>", counted="resident memory")
TOOK = Measured("cpu", "here", 2, 800 * 2**20, 500 * 2**20, 1.0, 2.0, 3.0, 10, 2)


def test_before_the_start_time_and_memory_are_said_with_what_they_rest_on():
    html = prediction_html(PREDICTED)
    assert "<b>20 s</b> (a step &lt;timed&gt;)" in html and "<b>700 MiB</b> (resident memory)" in html
    assert "time not known yet (no step" in prediction_html(Prediction(None, None, how="no step was timed"))


def test_after_the_end_the_difference_is_in_per_cent_of_what_was_measured():
    ended = replace(run_view(status="finished", seconds=25.0), prediction=PREDICTED, measured=TOOK)
    html = compared_html(ended)
    assert "<td>20 s</td><td>25 s</td><td>−20%</td>" in html
    assert "<td>700 MiB</td><td>800 MiB</td><td>−12%</td>" in html


def test_while_it_trains_nothing_is_claimed_of_the_end():
    html = compared_html(replace(run_view(), prediction=PREDICTED))
    assert "<td>20 s</td><td>…</td><td></td>" in html and "%" not in html
    stopped = replace(run_view(status="stopped"), prediction=PREDICTED, measured=TOOK)
    assert "<td>20 s</td><td>…</td><td></td>" in compared_html(stopped)
    assert compared_html(run_view()) == ""


@pytest.mark.parametrize(("seconds", "said"), [(4.4, "4 s"), (600, "10 min"), (7200, "2.0 h")])
def test_seconds_are_said_as_a_person_says_them(seconds, said):
    assert duration(seconds) == said


def test_bytes_are_said_in_mib_or_gib():
    assert size(3 * 2**20) == "3 MiB" and size(1.5 * 2**30) == "1.5 GiB"
