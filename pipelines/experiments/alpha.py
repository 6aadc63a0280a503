"""Beyond the chapter's eight: is alpha = 2r a good rule? A grid of alpha over r, and learning rates.

For each ratio the rate is the one that answers most questions about entities which judge nothing; only then are the
ratios compared, by other questions.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

from pipelines.experiments.arms import run_arms
from pipelines.experiments.bench import Bench, Example, Probe, Recipe
from pipelines.experiments.records import Arm, Claim, Outcome, Progress
from pipelines.experiments.statistics import difference, share_arm

RANK = 8
RATIOS = (1, 2, 4)
RATES = (1.25e-3, 2.5e-3, 5e-3, 1e-2)
STEPS = 30
FACTS, CHOOSING = 100, 50
RULE = 2
_LEARNED, _MARGIN = 0.5, 0.05

CLAIM = Claim(
    stage="alpha",
    claim="alpha = 2r is a good rule: with a rate that suits each, no other ratio answers more.",
    source="The chapter, sections 5 and 7 (alpha twice the rank); Hu et al. 2021: tuning α is like tuning the rate",
    claimed="alpha = 2r",
    hypothesis=(
        f"At r = {RANK}, alpha/r of {', '.join(map(str, RATIOS))} answer alike once each has the best of "
        f"{len(RATES)} learning rates; a larger ratio wants a smaller rate."
    ),
    rule=(
        f"Holds if alpha = {RULE}r answers at least {100 * _LEARNED:.0f} points more than the base and at most "
        f"{100 * _MARGIN:.0f} points fewer than each other ratio, with the whole 95 % interval. The rate of each "
        "ratio is chosen by questions about entities that judge nothing."
    ),
    budget=60.0,
)


@dataclass(frozen=True, slots=True)
class Tried:
    """One cell of the grid: the questions that choose, and the questions that judge."""

    choosing: list[bool]
    judging: list[bool]


def measure(bench: Bench) -> Generator[Progress, None, Outcome]:
    """Train every cell; choose a rate for each ratio; compare the ratios."""
    rows = [bench.example(talk) for talk in bench.conversations(bench.taught(STEPS * 16))]
    judging, other = bench.questions(bench.heldout(FACTS)), bench.choosing()
    choosing = other.questions(other.heldout(CHOOSING))
    cells = {_name(ratio, rate): Recipe(rate, STEPS, r=RANK, scale=float(ratio)) for ratio in RATIOS for rate in RATES}
    tasks = {name: _trained(rows, recipe, choosing, judging) for name, recipe in cells.items()}
    tasks["before training"] = _trained(rows, None, choosing, judging)

    def drawn(done: Mapping[str, Tried]) -> tuple[Arm, ...]:
        return tuple(
            share_arm(
                name, done[name].judging, f"{sum(done[name].choosing)} of {CHOOSING} right where rates are chosen"
            )
            for name in ("before training", *cells)
            if name in done
        )

    done = yield from run_arms(bench, tasks, steps=STEPS * len(cells), says="training the grid", drawn=drawn)
    # The smaller of equal rates, as everywhere.
    chosen = {ratio: max(RATES, key=lambda rate: (sum(done[_name(ratio, rate)].choosing), -rate)) for ratio in RATIOS}
    best = {ratio: done[_name(ratio, rate)].judging for ratio, rate in chosen.items()}
    return Outcome(
        measured="; ".join(
            f"alpha = {ratio}r at {chosen[ratio]:g}: {sum(right) / len(right):.0%}" for ratio, right in best.items()
        ),
        arms=drawn(done),
        conditions=(
            difference(f"alpha = {RULE}r learned", best[RULE], done["before training"].judging, "at least", _LEARNED),
            *(
                difference(f"alpha = {RULE}r minus alpha = {ratio}r", best[RULE], best[ratio], "at least", -_MARGIN)
                for ratio in RATIOS
                if ratio != RULE
            ),
        ),
        figures=tuple((f"rate chosen for alpha = {ratio}r", f"{rate:g}") for ratio, rate in chosen.items()),
        remarks=(
            "ΔW is alpha/r · BA: for the output, twice the ratio is twice B, and Adam moves B by about the rate in "
            "each step. So read the grid along its diagonals: ratio and rate are nearly one knob.",
            "A larger model allows a narrower range of rates; whether the rule holds there, this grid cannot say.",
        ),
    )


def _name(ratio: int, rate: float) -> str:
    return f"alpha = {ratio}r, rate {rate:g}"


def _trained(
    rows: Sequence[Example], recipe: Recipe | None, choosing: Sequence[Probe], judging: Sequence[Probe]
) -> Callable[[Bench], Tried]:
    def arm(bench: Bench) -> Tried:
        model = bench.model("base")
        if recipe:
            model = bench.train(model, rows, recipe)
        right = bench.right(model, [*choosing, *judging])
        return Tried(right[: len(choosing)], right[len(choosing) :])

    return arm
