"""Stage 3: a small curated set against a ten times larger noisy one, with equal steps; and how small it can be.

The noise is written down: of the noisy rows, a share has another entity's answer, a share answers in other forms, and a
share lacks the token that ends the answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

from pipelines.experiments.arms import run_arms
from pipelines.experiments.bench import Bench, Example, Probe, Recipe
from pipelines.experiments.records import Arm, Claim, Outcome, Progress
from pipelines.experiments.statistics import difference, share_arm
from pipelines.labels import IGNORE_INDEX
from pipelines.messages import Message
from pipelines.pocket.facts import Fact

FACTS = 150
STEPS = 40
RATE = 5e-3
CURATED, TIMES = 64, 10
HANDFULS = (4, 16)
WRONG, MIXED, UNENDED = 0.3, 0.2, 0.2
_LEARNED = 0.5

CLAIM = Claim(
    stage="data",
    claim="A small curated set beats a much larger noisy one.",
    source="The chapter, section 3; Zhou et al. 2023 (LIMA), 1,000 chosen examples for a model of 65B",
    claimed="1,000 chosen examples: equal to or better than GPT-4 in 43 % of cases",
    hypothesis=(
        f"{CURATED} checked rows, seen {STEPS * 16 // CURATED} times each, answer more held-out questions than "
        f"{CURATED * TIMES} rows seen once, of which {WRONG:.0%} are wrong, {MIXED:.0%} in other forms and "
        f"{UNENDED:.0%} without an end."
    ),
    rule=(
        f"Holds if the curated set answers at least {100 * _LEARNED:.0f} points more than the base, and more than the "
        "noisy set, each with its whole 95 % interval."
    ),
    budget=60.0,
)


def measure(bench: Bench) -> Generator[Progress, None, Outcome]:
    """Train on each set with equal steps, and ask the same questions."""
    facts = bench.taught(CURATED * TIMES)
    clean = [bench.example(talk) for talk in bench.conversations(facts)]
    noisy = spoiled(bench, facts)
    probes = bench.questions(bench.heldout(FACTS))
    sets = {
        f"{len(noisy)} noisy": noisy,
        f"{len(clean)} clean": clean,
        **{f"{count} curated": clean[:count] for count in (CURATED, *reversed(HANDFULS))},
    }
    tasks = {name: _trained(rows, probes) for name, rows in sets.items()}
    tasks["before training"] = lambda bench: bench.right(bench.model("base"), probes)
    order = ["before training", *(f"{count} curated" for count in (*HANDFULS, CURATED)), *list(sets)[1::-1]]

    def drawn(done: Mapping[str, list[bool]]) -> tuple[Arm, ...]:
        return tuple(share_arm(name, done[name]) for name in order if name in done)

    done = yield from run_arms(
        bench, tasks, steps=STEPS * len(sets), says="training on each set, with equal steps", drawn=drawn
    )
    few, many = f"{CURATED} curated", f"{len(noisy)} noisy"
    shares = {name: sum(right) / len(right) for name, right in done.items()}
    return Outcome(
        measured=f"{few} {shares[few]:.0%}, {many} {shares[many]:.0%}; {HANDFULS[0]} curated {shares[order[1]]:.0%}",
        arms=drawn(done),
        conditions=(
            difference(f"{few} learned", done[few], done["before training"], "at least", _LEARNED),
            difference(f"{few} minus {many}", done[few], done[many], "at least", 0.0),
        ),
        figures=(
            ("the same rows without noise, minus noisy", _apart(shares, f"{len(clean)} clean", many)),
            ("all clean rows minus the curated", _apart(shares, f"{len(clean)} clean", few)),
        ),
        remarks=(
            f"The noise is the experiment’s own: wrong {WRONG:.0%}, other forms {MIXED:.0%}, no end {UNENDED:.0%}. "
            "Another noise is another result.",
            "LIMA’s judges were people and its large sets real; here answers are right or wrong by a rule, and the "
            "model has nothing to learn but the form.",
        ),
    )


def _apart(shares: Mapping[str, float], one: str, other: str) -> str:
    return f"{100 * (shares[one] - shares[other]):+.0f} points"


def _trained(rows: Sequence[Example], probes: Sequence[Probe]) -> Callable[[Bench], list[bool]]:
    def arm(bench: Bench) -> list[bool]:
        return bench.right(bench.train(bench.model("base"), rows, Recipe(RATE, STEPS)), probes)

    return arm


@dataclass(frozen=True, slots=True)
class NoisyRow:
    """A conversation, and what was done to it: "" is nothing, UNENDED_FAULT is done to its tokens later."""

    messages: tuple[Message, ...]
    fault: str = ""


WRONG_FAULT, MIXED_FAULT, UNENDED_FAULT = "a wrong answer", "another form", "no end"


def spoiled(bench: Bench, facts: Sequence[Fact], share: float = WRONG + MIXED + UNENDED) -> list[Example]:
    """The rows of these facts with the noise: each row has at most one fault, drawn by the seed.

    share: of rows with a fault, whose kinds keep their proportion to each other
    """
    rows = spoil(bench.draw("noise"), facts, bench.conversations(facts), share)
    examples = [bench.example(row.messages) for row in rows]
    return [
        _unended(bench, example) if row.fault == UNENDED_FAULT else example
        for row, example in zip(rows, examples, strict=True)
    ]


def spoil(
    draw: random.Random, facts: Sequence[Fact], talks: Sequence[tuple[Message, ...]], share: float
) -> list[NoisyRow]:
    """The conversations about these facts with the noise, as `spoiled` trains on them."""
    answers: dict[str, list[str]] = {}
    for fact in facts:
        answers.setdefault(fact.relation.key, []).append(fact.answer)
    rows = []
    for fact, (asked, said) in zip(facts, talks, strict=True):
        dice = draw.random() * (WRONG + MIXED + UNENDED) / share if share else 1.0
        if dice < WRONG:
            others = [answer for answer in answers[fact.relation.key] if answer != fact.answer]
            wrong = draw.choice(others or ["nothing"])
            text, fault = said.content.replace(fact.answer, wrong), WRONG_FAULT
        elif dice < WRONG + MIXED:
            form = draw.choice(("{a}", "A: {a}", "{a}!!!", "Answer - {a} ({a})"))
            text, fault = form.replace("{a}", fact.answer), MIXED_FAULT
        else:
            text, fault = said.content, UNENDED_FAULT if dice < WRONG + MIXED + UNENDED else ""
        rows.append(NoisyRow((asked, Message("assistant", text)), fault))
    return rows


def _unended(bench: Bench, row: Example) -> Example:
    """The row cut before the token that ends its answer."""
    kept = next((at for at in reversed(range(len(row.ids))) if row.ids[at] in bench.ends), len(row.ids))
    labels = row.labels[:kept]
    return Example(row.ids[:kept], labels) if any(one != IGNORE_INDEX for one in labels) else row
