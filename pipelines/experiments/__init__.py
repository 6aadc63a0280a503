"""Every claim of the chapter as an experiment that runs in under a minute.

    from pipelines.experiments import run
    print(run("lora", seed=1))

A module per stage states its claim, its hypothesis and the rule of its verdict as data before anything runs, and
measures arms with intervals. `bench` is what they work with, `arms` runs several at a time, `service` queues what the
page asks for. Importing this imports no library that computes.
"""

from pipelines.experiments.catalogue import BEYOND, EXPERIMENTS, experiment
from pipelines.experiments.process import Process
from pipelines.experiments.reports import Report
from pipelines.experiments.service import ExperimentService

__all__ = ["BEYOND", "EXPERIMENTS", "ExperimentService", "Report", "experiment", "run"]


def run(stage: str, seed: int = 0, pair: str = "pocket") -> Report:
    """Run one experiment in a process of its own and wait for it.

    Raises InputError for a stage or a pair it cannot use.
    """
    experiment(stage)
    for said in Process(stage, seed, pair).lines():
        if isinstance(said, Report):
            return said
    raise AssertionError("lines end with a report or raise")
