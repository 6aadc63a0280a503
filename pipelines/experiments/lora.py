"""Stage 5: accuracy against rank, and full fine-tuning, with the same steps and rows.

Learning rates were chosen per arm on entities that play no part here (`pipelines.experiments.tuning`, 40 steps, mean
of three seeds; the rate with the highest mean, the smaller of equal ones). Share of the tuning questions right,
definitions among them:

    rate       r=1     r=2     r=4     r=8     r=16    r=32      rate      full
    2.0e-03    0.482   0.878   0.949   0.958   0.956   0.962     1.5e-04   0.962
    3.5e-03    0.944   0.956   0.960   0.953   0.953   0.933     3.0e-04   0.960
    5.0e-03    0.953   0.951   0.949   0.953   0.949   0.916     5.0e-04   0.933
    7.0e-03    0.953   0.944   0.944   0.927   0.893   0.811
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from pipelines.experiments.arms import run_arms
from pipelines.experiments.bench import Bench, Example, Probe, Recipe
from pipelines.experiments.records import Arm, Claim, Outcome, Progress, exactly
from pipelines.experiments.statistics import difference, share_arm

FACTS = 150
STEPS = 40
RATES = {1: 5e-3, 2: 3.5e-3, 4: 3.5e-3, 8: 2e-3, 16: 2e-3, 32: 2e-3}
FULL_RATE = 1.5e-4
FEW, MANY = 8, 32
_MARGIN, _LEARNED = 0.05, 0.5

CLAIM = Claim(
    stage="lora",
    claim="A few ranks do almost what full fine-tuning does, and higher ranks add little.",
    source="The chapter, section 5; Hu et al. 2021, where r = 1 to 64 on GPT-3 175B differ by less than a point",
    claimed=f"r = {FEW} within a few points of full fine-tuning; higher ranks marginal",
    hypothesis=(
        f"With the same {STEPS} steps on the same rows, LoRA at r = {FEW} answers as many held-out questions as full "
        f"fine-tuning does, and r = {MANY} hardly more than r = {FEW}."
    ),
    rule=(
        f"Holds if full fine-tuning and r = {FEW} both answer at least {100 * _LEARNED:.0f} points more than the "
        f"untrained base, if r = {FEW} is at most {100 * _MARGIN:.0f} points behind full fine-tuning and at most "
        f"{100 * _MARGIN:.0f} points behind r = {MANY}, each with its whole 95 % interval, and if an adapter changes "
        "no logit at step 0 with B = 0, and some without."
    ),
    budget=60.0,
)


def measure(bench: Bench) -> Generator[Progress, None, Outcome]:
    """Train seven arms and ask each the same questions."""
    rows = [bench.example(talk) for talk in bench.conversations(bench.taught(STEPS * 16))]
    probes = bench.questions(bench.heldout(FACTS))
    recipes = {f"LoRA r = {r}": Recipe(rate, STEPS, r=r) for r, rate in RATES.items()}
    # The slowest first, so that it does not run alone at the end.
    recipes = {"full fine-tuning": Recipe(FULL_RATE, STEPS, method="full"), **recipes}
    tasks = {name: _trained(recipe, rows, probes) for name, recipe in recipes.items()}
    tasks["before training"] = lambda bench: Trained(bench.right(bench.model("base"), probes), 0, ())
    order = ["before training", *(name for name in recipes if name != "full fine-tuning"), "full fine-tuning"]

    def drawn(done: Any) -> tuple[Arm, ...]:
        return tuple(
            share_arm(name, done[name].right, f"{done[name].trained:,} trained parameters")
            for name in order
            if name in done
        )

    done = yield from run_arms(bench, tasks, steps=STEPS * len(recipes), says="training and asking", drawn=drawn)
    right = {name: found.right for name, found in done.items()}
    few, many, full = f"LoRA r = {FEW}", f"LoRA r = {MANY}", "full fine-tuning"
    zero, other = step_zero(bench)
    kept = done[full].kept
    shares = {name: sum(values) / len(values) for name, values in right.items()}
    return Outcome(
        measured=(
            f"r = 1 {shares['LoRA r = 1']:.0%}, r = {FEW} {shares[few]:.0%}, r = {MANY} {shares[many]:.0%}, "
            f"full {shares[full]:.0%}"
        ),
        arms=drawn(done),
        conditions=(
            difference("full fine-tuning learned", right[full], right["before training"], "at least", _LEARNED),
            difference(f"r = {FEW} learned", right[few], right["before training"], "at least", _LEARNED),
            difference(f"r = {FEW} minus full", right[few], right[full], "at least", -_MARGIN),
            difference(f"r = {FEW} minus r = {MANY}", right[few], right[many], "at least", -_MARGIN),
            exactly("largest change of a logit at step 0, B = 0", zero, "at most", 0.0),
            exactly("largest change of a logit at step 0, B random", other, "at least", 0.1),
        ),
        figures=tuple(
            (f"of ΔW’s energy in its first {r} of {len(kept) - 1} directions, full fine-tuning", f"{kept[r]:.0%}")
            for r in (1, 8, 32)
            if r < len(kept)
        ),
        remarks=(
            "Rates were tuned for each arm on entities that play no part here. Shown by Hu et al. at 175 billion "
            "parameters, on tasks that ask more of an adapter than a change of format does.",
            "Full fine-tuning spreads its ΔW over many directions although rank 1 is enough to learn the format: that "
            "few suffice does not mean that few are used.",
        ),
    )


class Trained:
    """What an arm brings back: answers, trained parameters, and the energy that ΔW keeps (mean over matrices)."""

    def __init__(self, right: list[bool], trained: int, kept: tuple[float, ...]) -> None:
        self.right, self.trained, self.kept = right, trained, kept


def _trained(recipe: Recipe, rows: list[Example], probes: list[Probe]) -> Callable[[Bench], Trained]:
    def arm(bench: Bench) -> Trained:
        model = bench.train(bench.model("base"), rows, recipe)
        trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
        kept = energy(bench.model("base"), model) if recipe.method == "full" else ()
        return Trained(bench.right(model, probes), trained, kept)

    return arm


def energy(before: Any, after: Any) -> tuple[float, ...]:
    """kept[r]: the share of ΔW's squared norm in its first r directions, mean over the matrices of the layers."""
    old = dict(before.named_parameters())
    kept = []
    for name, weight in after.named_parameters():
        if weight.dim() == 2 and ".layers." in name:
            values = np.linalg.svd((weight.detach() - old[name].detach()).numpy(), compute_uv=False) ** 2
            kept.append(np.concatenate([[0.0], np.cumsum(values) / (values.sum() or 1.0)]))
    shortest = min(len(one) for one in kept)
    return tuple(float(share) for share in np.mean([one[:shortest] for one in kept], axis=0))


def step_zero(bench: Bench) -> tuple[float, float]:
    """Largest change of a logit by an untrained adapter: with B = 0 as PEFT makes it, and with B drawn like A."""
    import torch
    from peft import get_peft_model

    ids = torch.tensor([bench.tokenizer("The capital of France is")["input_ids"]])
    changes = []
    for zero in (True, False):
        torch.manual_seed(bench.seed)
        base = bench.model("base")
        setup = Recipe(0.0, r=FEW).lora()
        setup.init_lora_weights = zero
        with torch.no_grad():
            before = base(input_ids=ids).logits
            changes.append(float((get_peft_model(base, setup)(input_ids=ids).logits - before).abs().max()))
    return changes[0], changes[1]
