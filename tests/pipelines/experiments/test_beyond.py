"""Experiments beyond the eight of the chapter, and claims of one's own."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest

from pipelines.errors import InputError
from pipelines.experiments import BEYOND, EXPERIMENTS, alpha, experiment, forgetting, overtraining, own
from pipelines.experiments.bench import Bench, Recipe
from pipelines.experiments.own import Setting, claim_key, own_claim, read_key
from pipelines.experiments.records import FAILS, HOLDS, OPEN
from pipelines.experiments.reports import command
from pipelines.stages import STAGES
from tests.pipelines.experiments.conftest import outcome_of
from tests.pipelines.experiments.test_broken_arms import Unmoved, failed


def test_each_says_first_what_settles_it_and_belongs_to_a_tab() -> None:
    assert not set(BEYOND) & set(EXPERIMENTS)
    for key, one in BEYOND.items():
        assert one.claim.stage == key and one.claim.budget <= 60 and "Holds if" in one.claim.rule
        assert one.tab in {stage.key for stage in STAGES} and one.title


@pytest.mark.parametrize(
    "first", [Setting(), Setting("full", 3, 1e-4, 7, 16, "everything", "chatml"), Setting(noise=0.5)]
)
@pytest.mark.parametrize("measure", own.MEASURES)
def test_a_key_reads_back_what_it_was_made_of_and_survives_a_shell(first: Setting, measure: str) -> None:
    key = claim_key(first, Setting(r=1), measure)
    assert read_key(key) == (first, Setting(r=1), measure)
    assert experiment(key).claim.stage == key
    assert shlex.split(command(key, 4, "pocket"))[3] == key


def test_a_claim_names_what_differs_and_which_side_is_better() -> None:
    claim = own_claim(claim_key(Setting(r=1), Setting(r=32), "loss"))
    assert claim.claim.startswith("A (r 1) is better than B (r 32): less loss")
    assert "below zero" in claim.rule


@pytest.mark.parametrize(
    "key, says",
    [
        ("own?measure=acuracy", "Did you mean 'accuracy'"),
        ("own?a.ranck=3", "'a.ranck' is not known"),
        ("own?a.r=0", "r: 0 is not possible. Use a number from 1 to 64"),
        ("own?a.r=two", "'two' is no number"),
        ("own?b.learning_rate=nan", "learning_rate: nan is not possible"),
        ("own?b.steps=1000000", "steps: 1000000 is not possible"),
        ("own?b.template=chatlm", "Did you mean 'chatml'"),
        ("own?a.noise=0.5&a.train_on=everything", "noise: noisy rows"),
    ],
)
def test_settings_that_cannot_be_are_said_before_anything_runs(key: str, says: str) -> None:
    with pytest.raises(InputError, match=says.replace("?", r"\?")):
        experiment(key)


def test_the_rate_stays_only_where_it_is_asked_to_and_alpha_follows_the_ratio() -> None:
    from pipelines.experiments.bench import _rate

    assert [_rate(number, 40, False) for number in (5, 39)] == [1.0, 1.0]
    assert _rate(39, 40, True) == pytest.approx(1 / 40)
    assert Recipe(0.0, r=8, scale=4.0).lora().lora_alpha == 32


@pytest.mark.slow
@pytest.mark.parametrize(
    "module, changes, part",
    [
        (alpha, {"STEPS": 1, "RATIOS": (1, 2), "RATES": (5e-3,), "FACTS": 24, "CHOOSING": 4}, "alpha = 2r learned"),
        (forgetting, {"SHORT": 1, "LONG": 2, "FACTS": 24}, "LoRA learned to answer"),
        (overtraining, {"ROWS": 16, "EPOCHS": (1, 3), "FACTS": 24}, "LoRA: 3 epochs learned"),
    ],
)
def test_what_is_not_trained_proves_nothing(
    module: Any, changes: dict[str, Any], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in changes.items():
        monkeypatch.setattr(module, name, value)
    outcome = outcome_of(module.CLAIM.stage, Unmoved(seed=3))
    assert outcome.verdict == FAILS and part in failed(outcome)


@pytest.mark.slow
def test_a_claim_of_ones_own_is_decided_by_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "FACTS", 40)
    good, none = Setting(steps=20, learning_rate=5e-3), Setting(steps=1, rows=16)
    assert outcome_of(claim_key(good, none, "accuracy"), Bench(seed=3)).verdict == HOLDS
    assert outcome_of(claim_key(none, good, "loss"), Bench(seed=3)).verdict == FAILS
    same = replace(none, steps=2)
    assert outcome_of(claim_key(same, same, "stops"), Bench(seed=3)).verdict == OPEN
