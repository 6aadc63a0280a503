from __future__ import annotations

from dataclasses import replace

import pytest

from components.widgets.experiments import conditions_html, intervals_html, running_html, verdict_html
from pipelines.experiments import EXPERIMENTS, Report
from pipelines.experiments.records import Arm, Condition, Outcome, Progress, exactly
from pipelines.experiments.service import State

CLAIM = EXPERIMENTS["problem"].claim
ARM = Arm("masked", 0.975, 0.943, 0.989, 200, "note")
HOLDS, FAILS = exactly("a part", 1.0, "at least", 0.5), exactly("a part", 0.25, "at least", 0.5)
OPEN = Condition("a part", 0.5, 0.4, 0.6, "at least", 0.5)


def report(condition: Condition, **changes: object) -> Report:
    return Report(CLAIM, replace(Outcome("98 % right", (ARM,), (condition,)), **changes), 7, "pocket", 12.34)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "condition, words",
    [(HOLDS, "Holds"), (FAILS, "Does not hold"), (OPEN, "Not decided with this many samples")],
)
def test_the_verdict_is_said_in_words_beside_claimed_and_measured(condition: Condition, words: str) -> None:
    drawn = verdict_html(report(condition))
    assert f"</span> {words}</p>" in drawn
    assert CLAIM.claimed in drawn and "98 % right" in drawn and "12.3 s, seed 7" in drawn
    assert "python -m pipelines.experiments problem --seed 7" in drawn
    assert "measured now" in drawn and "measured earlier" in verdict_html(report(condition), kept=True)


def test_an_arm_is_a_dot_on_a_line_over_its_interval() -> None:
    drawn = intervals_html([ARM], "share")
    assert 'x1="94.30" x2="98.90"' in drawn and "left:97.50%" in drawn
    assert "98% <small>94–99</small>" in drawn
    assert 'aria-label="98%, 95 % interval 94% to 99%, 200 samples"' in drawn


def test_numbers_of_the_rule_are_short_and_a_broken_one_is_named() -> None:
    drawn = conditions_html([exactly("p", 0.0002, "at most", 0.001), exactly("x", float("nan"), "at least", -0.05)])
    assert "<td>2e−04</td><td>at most 0.001</td>" in drawn
    assert "not a number" in drawn and "at least −0.05" in drawn


def test_where_it_stands_is_said_in_words_with_seconds() -> None:
    state = State("running", 0, 3.6, Progress(0.25, "training: 1 of 4 done", (ARM,)))
    drawn = running_html(CLAIM, state)
    assert "Training: 1 of 4 done · 4 s" in drawn and 'aria-valuenow="25"' in drawn and "whisker" in drawn
    assert "the next in the queue" in running_html(CLAIM, State("waiting", 1))
    assert "place 3 in the queue" in running_html(CLAIM, State("waiting", 3))


def test_what_a_model_wrote_is_text_and_not_markup() -> None:
    attack = "<img src=x onerror=alert(1)>"
    drawn = verdict_html(
        report(HOLDS, measured=attack, arms=(replace(ARM, name=attack, note=attack),), figures=((attack, attack),),
               remarks=(attack,), axis=attack)
    )  # fmt: skip
    # The name of the arm and the axis are in the numbers to save, too, and the axis in the title to save them under.
    assert "<img" not in drawn and drawn.count("&lt;img") == 10
