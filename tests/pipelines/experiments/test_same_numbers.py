"""The same seed gives the same numbers: in one process, in another, and by the command that the page prints.

All experiments in full, each twice: `python -m tests.benchmarks.experiments --twice`.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import pytest

from pipelines.experiments import data, own, practice, sft, templates
from pipelines.experiments.bench import Bench
from pipelines.experiments.own import Setting, claim_key
from pipelines.experiments.process import ROOT
from pipelines.experiments.reports import command
from tests.pipelines.experiments.conftest import outcome_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("module", [sft, data, templates, practice])
def test_two_runs_in_one_process_are_equal_to_the_last_digit(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With few steps: they are the same code as many."""
    for name, value in {"STEPS": 3, "REPETITIONS": 1, "FACTS": 16, "INVENTED": 6}.items():
        monkeypatch.setattr(module, name, value, raising=False)
    first, second = (outcome_of(module.CLAIM.stage, Bench(seed=5)) for _ in range(2))
    assert first == second


def test_another_seed_gives_other_numbers() -> None:
    """Of an experiment that trains nothing: three steps leave some of the others at zero, whatever the seed."""
    assert outcome_of("templates", Bench(seed=5)) != outcome_of("templates", Bench(seed=6))


def test_the_printed_command_gives_the_numbers_of_the_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    key = claim_key(Setting(steps=3, rows=32), Setting(steps=3, rows=32, r=2), "loss")
    printed = [sys.executable, *shlex.split(command(key, 5, "pocket"))[1:]]
    done = subprocess.run(printed, cwd=ROOT, capture_output=True, check=True)
    theirs = json.loads(done.stdout.splitlines()[-1])["details"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ours = outcome_of(key, Bench(seed=5))
    finally:
        torch.set_num_threads(threads)
    assert theirs["arms"] == [asdict(arm) for arm in ours.arms]
    assert [one["value"] for one in theirs["conditions"]] == [one.value for one in ours.conditions]
    assert ours.arms[0].count == own.FACTS
