"""Experiments run in the test's own process, one arm after the other, so that a test can break an arm."""

from __future__ import annotations

from pipelines.experiments.bench import Bench
from pipelines.experiments.catalogue import experiment
from pipelines.experiments.records import Outcome


def outcome_of(stage: str, bench: Bench) -> Outcome:
    """What the experiment of that stage finds with that bench."""
    steps = experiment(stage).measure(bench)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
