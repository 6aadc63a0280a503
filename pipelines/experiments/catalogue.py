"""The experiments, one of each stage and others beyond the chapter. Importing this imports no library that computes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

from pipelines.errors import unknown
from pipelines.experiments import (
    alpha,
    base_vs_chat,
    data,
    forgetting,
    lora,
    overtraining,
    own,
    practice,
    problem,
    qlora,
    sft,
    templates,
)
from pipelines.experiments.bench import Bench
from pipelines.experiments.records import Claim, Outcome, Progress


@dataclass(frozen=True, slots=True)
class Experiment:
    """A claim and what measures it.

    trains: whether it needs a pair small enough to be trained on a CPU
    tab:    of one beyond the chapter's eight, the stage that shows it; title: its heading there
    """

    claim: Claim
    measure: Callable[[Bench], Generator[Progress, None, Outcome]]
    trains: bool = True
    tab: str = ""
    title: str = ""


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

BEYOND = {
    experiment.claim.stage: experiment
    for experiment in (
        Experiment(alpha.CLAIM, alpha.measure, tab="lora", title="Is alpha = 2r a good rule?"),
        Experiment(overtraining.CLAIM, overtraining.measure, tab="practice", title="How many epochs are too many?"),
        Experiment(forgetting.CLAIM, forgetting.measure, tab="practice", title="What does fine-tuning forget?"),
    )
}


def experiment(key: str) -> Experiment:
    """The experiment of that stage, of that name, or of a claim of one’s own (`own?…`).

    Raises InputError naming the nearest one, or for settings that cannot be.
    """
    if str(key).startswith(f"{own.OWN}?"):
        return Experiment(own.own_claim(key), own.measured_by(key))
    known = EXPERIMENTS | BEYOND
    if key not in known:
        raise unknown(str(key), known, "stage")
    return known[key]
