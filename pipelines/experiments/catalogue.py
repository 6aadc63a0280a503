"""The experiments by stage. Importing this imports no library that computes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

from pipelines.errors import unknown
from pipelines.experiments import base_vs_chat, data, lora, practice, problem, qlora, sft, templates
from pipelines.experiments.bench import Bench
from pipelines.experiments.records import Claim, Outcome, Progress


@dataclass(frozen=True, slots=True)
class Experiment:
    """A claim and what measures it. `trains`: whether it needs a pair small enough to be trained on a CPU."""

    claim: Claim
    measure: Callable[[Bench], Generator[Progress, None, Outcome]]
    trains: bool = True


EXPERIMENTS = {
    experiment.claim.stage: experiment
    for experiment in (
        Experiment(problem.CLAIM, problem.measure, trains=False),
        Experiment(sft.CLAIM, sft.measure),
        Experiment(data.CLAIM, data.measure),
        Experiment(templates.CLAIM, templates.measure, trains=False),
        Experiment(lora.CLAIM, lora.measure),
        Experiment(qlora.CLAIM, qlora.measure),
        Experiment(practice.CLAIM, practice.measure),
        Experiment(base_vs_chat.CLAIM, base_vs_chat.measure),
    )
}


def experiment(stage: str) -> Experiment:
    """The experiment of that stage. Raises InputError naming the nearest stage that has one."""
    if stage not in EXPERIMENTS:
        raise unknown(str(stage), EXPERIMENTS, "stage")
    return EXPERIMENTS[stage]
