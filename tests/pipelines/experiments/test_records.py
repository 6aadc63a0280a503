from __future__ import annotations

import math

import pytest

from pipelines.experiments.catalogue import EXPERIMENTS
from pipelines.experiments.records import FAILS, HOLDS, OPEN, Arm, Condition, Outcome, exactly
from pipelines.experiments.reports import Report
from pipelines.stages import STAGES


@pytest.mark.parametrize(
    "low, high, sense, verdict",
    [
        (0.31, 0.5, "at least", HOLDS),
        (0.2, 0.29, "at least", FAILS),
        (0.2, 0.5, "at least", OPEN),
        (0.1, 0.3, "at most", HOLDS),
        (0.31, 0.5, "at most", FAILS),
        (0.2, 0.5, "at most", OPEN),
        (math.nan, 0.5, "at least", FAILS),
    ],
)
def test_a_condition_is_judged_by_its_whole_interval(low: float, high: float, sense: str, verdict: str) -> None:
    assert Condition("", (low + high) / 2, low, high, sense, 0.3).verdict == verdict  # type: ignore[arg-type]


def test_one_failed_part_fails_the_claim_and_one_open_part_leaves_it_open() -> None:
    holds, fails = exactly("", 1, "at least", 0), exactly("", 1, "at most", 0)
    open_ = Condition("", 0.5, 0.0, 1.0, "at least", 0.5)
    assert Outcome("", (), (holds, holds)).verdict == HOLDS
    assert Outcome("", (), (holds, open_)).verdict == OPEN
    assert Outcome("", (), (holds, open_, fails)).verdict == FAILS
    assert Outcome("", (), ()).verdict == FAILS


def test_a_report_reads_back_what_it_writes() -> None:
    outcome = Outcome("m", (Arm("a", 0.5, 0.4, 0.6, 9),), (exactly("c", 1, "at most", 2),), "x", (("n", "v"),), ("r",))
    report = Report(EXPERIMENTS["problem"].claim, outcome, 3, "pocket", 1.25)
    assert Report.from_dict(report.as_dict()) == report
    assert set(report.as_dict()) == {"claim", "source", "claimed", "measured", "passed", "seconds", "details"}


def test_a_folder_of_this_machine_is_not_shown(tmp_path: object) -> None:
    report = Report(EXPERIMENTS["problem"].claim, Outcome("", (), ()), 0, f"{tmp_path},{tmp_path}", 1.0)
    assert str(tmp_path) not in str(report.as_dict())


def test_every_experiment_belongs_to_a_stage_and_says_what_it_will_do() -> None:
    assert set(EXPERIMENTS) <= {stage.key for stage in STAGES}
    for stage, experiment in EXPERIMENTS.items():
        claim = experiment.claim
        assert claim.stage == stage and claim.budget <= 60
        assert all(len(text) > 5 for text in (claim.claim, claim.source, claim.claimed, claim.hypothesis, claim.rule))
