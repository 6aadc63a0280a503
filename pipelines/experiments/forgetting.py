"""Beyond the chapter's eight: what fine-tuning costs. The base's own ability, completing sentences, before and after.

Short and long SFT by LoRA and in full; asked are the same facts, as sentences to complete (what the base could do) and
as questions (what was taught).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

from pipelines.experiments.arms import run_arms
from pipelines.experiments.bench import Bench, Example, Recipe
from pipelines.experiments.lora import FULL_RATE, RATES
from pipelines.experiments.records import Arm, Claim, Outcome, Progress
from pipelines.experiments.statistics import difference, share_arm
from pipelines.pocket.facts import Fact

FACTS = 150
SHORT, LONG = 40, 120
_LEARNED = 0.5

CLAIM = Claim(
    stage="forgetting",
    claim="Fine-tuning forgets some of what the base could do, and LoRA forgets less than full fine-tuning.",
    source="Biderman et al. 2024, “LoRA Learns Less and Forgets Less”, on code and mathematics with models of 7B",
    claimed="LoRA forgets less",
    hypothesis=(
        f"After {LONG} steps of questions and answers, the fully tuned model completes fewer held-out sentences than "
        "the base did, and fewer than the model with an adapter does, though both answer the questions."
    ),
    rule=(
        f"Holds if after {LONG} steps both answer at least {100 * _LEARNED:.0f} points more questions than the base, "
        "if full fine-tuning completes fewer sentences than the base, and LoRA more than full, each with its "
        "whole 95 % interval."
    ),
    budget=60.0,
)


@dataclass(frozen=True, slots=True)
class Able:
    """What one model does with each fact: completes its sentence, answers its question."""

    completes: list[bool]
    answers: list[bool]


def measure(bench: Bench) -> Generator[Progress, None, Outcome]:
    """Complete and answer before, and after four trainings."""
    facts = bench.heldout(FACTS)
    rows = [bench.example(talk) for talk in bench.conversations(bench.taught(LONG * 16))]
    recipes = {
        f"{name}, {steps} steps": Recipe(rate, steps, method="full" if name == "full" else "lora")
        for steps in (LONG, SHORT)
        for name, rate in (("full", FULL_RATE), ("LoRA", RATES[8]))
    }
    tasks = {name: _trained(facts, rows, recipe) for name, recipe in recipes.items()}
    tasks["before"] = _trained(facts, rows, None)
    order = ["before", *reversed(recipes)]

    def drawn(done: Mapping[str, Able]) -> tuple[Arm, ...]:
        found = [(name, done[name]) for name in order if name in done]
        return (
            *(share_arm(f"{name}: completes", able.completes) for name, able in found),
            *(share_arm(f"{name}: answers", able.answers) for name, able in found),
        )

    done = yield from run_arms(
        bench, tasks, steps=2 * (SHORT + LONG), says="training, completing, answering", drawn=drawn
    )
    before, full, lora = done["before"], done[f"full, {LONG} steps"], done[f"LoRA, {LONG} steps"]
    share = {name: sum(able.completes) / len(facts) for name, able in done.items()}
    return Outcome(
        measured=(
            f"completes {share['before']:.0%} before; after {LONG} steps {share[f'LoRA, {LONG} steps']:.0%} by LoRA, "
            f"{share[f'full, {LONG} steps']:.0%} by full fine-tuning"
        ),
        arms=drawn(done),
        conditions=(
            difference("full fine-tuning learned to answer", full.answers, before.answers, "at least", _LEARNED),
            difference("LoRA learned to answer", lora.answers, before.answers, "at least", _LEARNED),
            difference("completed, full minus before", full.completes, before.completes, "at most", 0.0),
            difference("completed, LoRA minus full", lora.completes, full.completes, "at least", 0.0),
        ),
        axis="share of held-out facts",
        remarks=(
            "Sentences and questions are about the same facts in one language, and SFT answers in sentences: near to "
            "what the base did. Fine-tuning on something far from it forgets more.",
            "Rates are those that the accuracy of answers chose for each (stage LoRA); a larger one forgets more.",
        ),
    )


def _trained(facts: Sequence[Fact], rows: Sequence[Example], recipe: Recipe | None) -> Callable[[Bench], Able]:
    def arm(bench: Bench) -> Able:
        model = bench.model("base")
        if recipe:
            model = bench.train(model, rows, recipe)
        return Able(bench.completes(model, facts), bench.right(model, bench.questions(facts)))

    return arm
