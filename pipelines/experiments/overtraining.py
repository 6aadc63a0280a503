"""Beyond the chapter's eight: the same rows again and again, far past the few epochs that are advised.

One run each of LoRA and of full fine-tuning with a rate that stays, looked at on the way: held-out answers, the loss of
held-out answers, the loss of the rows themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.experiments.arms import run_arms
from pipelines.experiments.bench import Bench, Example, Probe, Recipe
from pipelines.experiments.records import Arm, Claim, Outcome, Progress
from pipelines.experiments.statistics import difference, share_arm

ROWS, BATCH = 128, 16
FACTS = 80
EPOCHS = (1, 3, 8, 16, 24)
ADVISED = 3
# The rates at which each learns within forty steps (`pipelines.experiments.lora`): for LoRA the steeper of two as good.
RATES = {"LoRA": 3.5e-3, "full": 3e-4}
_LEARNED, _MARGIN = 0.5, 0.05

CLAIM = Claim(
    stage="overtraining",
    claim="Two or three epochs are enough: more of them add no answers, and make held-out text less likely.",
    source="The chapter, section 2 (2–3 epochs, do not overtrain); Ouyang et al. 2022, whose SFT overfits after one",
    claimed=f"{ADVISED} epochs enough; more overtrain",
    hypothesis=(
        f"Over {EPOCHS[-1]} epochs of the same {ROWS} rows the loss of these rows falls all the way; the loss of held-"
        f"out answers is lower after {ADVISED} epochs than at the end, and no more questions are answered at the end."
    ),
    rule=(
        f"Holds if, by LoRA and by full fine-tuning, {ADVISED} epochs answer at least {100 * _LEARNED:.0f} points more "
        f"than the base and at most {100 * _MARGIN:.0f} points fewer than {EPOCHS[-1]}, if the held-out loss rises "
        "from there to the end, and if that of the rows falls, each with its whole 95 % interval."
    ),
    budget=60.0,
)


@dataclass(frozen=True, slots=True)
class Look:
    """A run after some epochs: held-out answers, and the loss of held-out answers and of trained rows, one by one."""

    right: list[bool]
    heldout: list[float]
    trained: list[float]


def measure(bench: Bench) -> Generator[Progress, None, Outcome]:
    """Train both far too long, and look at five places."""
    rows = [bench.example(talk) for talk in bench.conversations(bench.taught(ROWS))]
    facts = bench.heldout(FACTS)
    probes, unseen = bench.questions(facts), [bench.example(talk) for talk in bench.conversations(facts)]
    steps = EPOCHS[-1] * ROWS // BATCH
    tasks = {
        name: _trained(
            Recipe(rate, steps, BATCH, "full" if name == "full" else "lora", decays=False), rows, probes, unseen
        )
        for name, rate in RATES.items()
    }

    def drawn(done: Mapping[str, dict[int, Look]]) -> tuple[Arm, ...]:
        return tuple(
            share_arm(f"{name}, {epochs} epochs" if epochs else f"{name}, before", look.right,
                      f"loss: held out {_mean(look.heldout):.2f}, trained rows {_mean(look.trained):.2f}")
            for name, looks in done.items() for epochs, look in looks.items()
        )  # fmt: skip

    done = yield from run_arms(
        bench, tasks, steps=steps * len(tasks), says="training far longer than advised", drawn=drawn
    )
    conditions = []
    for name, looks in done.items():
        before, advised, end = looks[0], looks[ADVISED], looks[EPOCHS[-1]]
        conditions += [
            difference(f"{name}: {ADVISED} epochs learned", advised.right, before.right, "at least", _LEARNED),
            difference(f"{name}: answers, {ADVISED} epochs minus {EPOCHS[-1]}", advised.right, end.right,
                       "at least", -_MARGIN),
            difference(f"{name}: held-out loss, {EPOCHS[-1]} epochs minus {ADVISED}", end.heldout, advised.heldout,
                       "at least", 0.0),
            difference(f"{name}: loss of the rows, {EPOCHS[-1]} epochs minus {ADVISED}", end.trained, advised.trained,
                       "at most", 0.0),
        ]  # fmt: skip
    least = {name: min(looks, key=lambda epochs: _mean(looks[epochs].heldout)) for name, looks in done.items()}
    return Outcome(
        measured="; ".join(
            f"{name}: after {ADVISED} epochs {_said(looks[ADVISED])}, after {EPOCHS[-1]} {_said(looks[EPOCHS[-1]])}"
            for name, looks in done.items()
        ),
        arms=drawn(done),
        conditions=tuple(conditions),
        axis="share of held-out questions right, after so many epochs",
        figures=tuple((f"epochs with the lowest held-out loss, {name}", f"{epochs}") for name, epochs in least.items()),
        remarks=(
            "Every row here is right and in one form, so there is little wrong to learn by heart, and more steps may "
            "cost nothing. Rows that people wrote differ and contradict each other; there it was shown.",
            f"The rate stays where it is for {steps} steps, so that all places lie on one run; with a rate that decays "
            "to nothing, as is usual, each length would be a run of its own.",
            "The chapter’s rate of 2e-5 is for billions of parameters; a model of four million needs a larger one.",
        ),
    )


def _trained(
    recipe: Recipe, rows: Sequence[Example], probes: Sequence[Probe], unseen: Sequence[Example]
) -> Callable[[Bench], dict[int, Look]]:
    def arm(bench: Bench) -> dict[int, Look]:
        model = bench.model("base")
        looks: dict[int, Look] = {}

        def look(model: Any, steps: int) -> None:
            epochs, rest = divmod(steps * recipe.batch, len(rows))
            if rest == 0 and epochs in (0, *EPOCHS):
                model.eval()
                looks[epochs] = Look(
                    bench.right(model, probes), bench.losses(model, unseen), bench.losses(model, rows[: len(unseen)])
                )
                model.train()

        look(model, 0)
        bench.train(model, rows, recipe, after=look)
        return looks

    return arm


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _said(look: Look) -> str:
    return f"{_mean(look.right):.0%} right, held-out loss {_mean(look.heldout):.2f}"
