"""Stage 7: fine-tuning unlocks what a model knows; it does not add what it does not know.

Two kinds of facts: real ones about entities that no training row mentions, which the base has read; and invented ones,
which are in no corpus. Trained on real facts, the model should answer the first kind and not the second. Trained on
half of the invented ones, it should repeat that half and not know the other: that is memorising.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace

from pipelines.experiments.arms import run_arms
from pipelines.experiments.bench import Bench, Recipe
from pipelines.experiments.records import Arm, Claim, Outcome, Progress
from pipelines.experiments.statistics import difference, level, share_arm
from pipelines.pocket.facts import Fact, all_facts
from pipelines.pocket.invented import invented_fact

FACTS, INVENTED = 150, 40  # each half of the invented ones
STEPS = 40
RATE = 5e-3
LEAST_ANSWERS = 25  # of a relation, so that guessing is right in few cases
_LEARNED, _MEMORISED, _GUESSED = 0.5, 0.3, 0.2

CLAIM = Claim(
    stage="practice",
    claim="Fine-tuning does not teach the facts; it unlocks those that the base already knows.",
    source="The chapter, section 7; Zhou et al. 2023, the superficial alignment hypothesis. Neither gives a number",
    claimed="answers about what SFT never mentioned; nothing that the base never read",
    hypothesis=(
        "After SFT on some facts, the model answers questions about other entities that the base has read of, and not "
        "about invented ones; trained on half of the invented facts, it repeats that half and not the other."
    ),
    rule=(
        f"Holds if held-out answers rise by at least {100 * _LEARNED:.0f} points, if at most {_GUESSED:.0%} of the "
        "invented facts are answered after that, if training on half of the invented facts makes that half rise by at "
        f"least {100 * _MEMORISED:.0f} points over the other, and if the other half stays at most {_GUESSED:.0%}, each "
        "with its whole 95 % interval."
    ),
    budget=60.0,
)


@dataclass(frozen=True, slots=True)
class Known:
    """What one model answers rightly: real held-out facts, and the two halves of the invented ones."""

    real: list[bool]
    half: list[bool]
    other: list[bool]


def measure(bench: Bench) -> Generator[Progress, None, Outcome]:
    """Ask before, after SFT on real facts, and after SFT on half of the invented ones."""
    real = bench.questions(bench.heldout(FACTS))
    made = invented(bench, 2 * INVENTED)
    half, other = bench.questions(made[:INVENTED]), bench.questions(made[INVENTED:])

    def known(bench: Bench, taught: Sequence[Fact] | None) -> Known:
        model = bench.model("base")
        if taught is not None:
            rows = [bench.example(talk) for talk in bench.conversations(taught)]
            model = bench.train(model, rows, Recipe(RATE, STEPS))
        right = bench.right(model, [*real, *half, *other])
        return Known(right[: len(real)], right[len(real) : len(real) + INVENTED], right[len(real) + INVENTED :])

    lesson = bench.taught(STEPS * 16)
    # Each of them is seen sixteen times, in several wordings: enough to learn most by heart.
    drill = [fact for _ in range(max(1, STEPS * 16 // INVENTED)) for fact in made[:INVENTED]]
    tasks = {
        "real": lambda bench: known(bench, lesson),
        "invented": lambda bench: known(bench, drill),
        "before": lambda bench: known(bench, None),
    }

    def drawn(done: Mapping[str, Known]) -> tuple[Arm, ...]:
        return tuple(share_arm(name, getattr(done[arm], part)) for name, arm, part in _ARMS if arm in done)

    done = yield from run_arms(
        bench, tasks, steps=2 * STEPS, says="training on real and on invented facts", drawn=drawn
    )
    before, after, learned = done["before"], done["real"], done["invented"]
    unknown = [*after.half, *after.other]
    share = {name: sum(values) / len(values) for name, values in (
        ("before", before.real), ("after", after.real), ("unknown", unknown), ("half", learned.half),
        ("other", learned.other), ("real", learned.real),
    )}  # fmt: skip
    return Outcome(
        measured=(
            f"held-out {share['before']:.0%} → {share['after']:.0%}; invented {share['unknown']:.0%}; trained on half "
            f"of them: that half {share['half']:.0%}, the other {share['other']:.0%}"
        ),
        arms=drawn(done),
        conditions=(
            difference("held-out answers, after minus before", after.real, before.real, "at least", _LEARNED),
            level("invented facts answered after SFT on others", unknown, "at most", _GUESSED),
            difference("invented: taught half minus the other", learned.half, learned.other, "at least", _MEMORISED),
            level("invented: the other half", learned.other, "at most", _GUESSED),
        ),
        figures=(("held-out real facts after training on invented ones only", f"{share['real']:.0%}"),),
        remarks=(
            "Invented facts have invented names and answers drawn from real ones of the same relation, so that a guess "
            f"is sometimes right; only relations with at least {LEAST_ANSWERS} answers are used.",
            "Training on what a base does not know also works against what it knows (Gekhman et al. 2024); the figure "
            "above shows how much is left of it here.",
        ),
    )


_ARMS = (
    ("before: real, held out", "before", "real"),
    ("after SFT on real facts: real, held out", "real", "real"),
    ("after SFT on real facts: invented", "real", "other"),
    ("after SFT on invented facts: taught ones", "invented", "half"),
    ("after SFT on invented facts: the other half", "invented", "other"),
    ("after SFT on invented facts: real, held out", "invented", "real"),
)


def invented(bench: Bench, count: int) -> list[Fact]:
    """Facts about things that do not exist, each with an answer that is a real one's of the same relation."""
    draw = bench.draw("invented")
    answers: dict[str, set[str]] = {}
    for fact in all_facts():
        answers.setdefault(fact.relation.key, set()).add(fact.answer)
    made: dict[str, Fact] = {}
    while len(made) < count:
        fact = invented_fact(draw, "evaluation")
        known = sorted(answers.get(fact.relation.key, ()))
        if len(known) >= LEAST_ANSWERS and fact.relation.key not in ("definition", "neighbours"):
            made.setdefault(fact.entity, replace(fact, answer=draw.choice(known)))
    return list(made.values())
