"""How the learning rates of the arms were chosen: `python -m pipelines.experiments.tuning [arm …]`.

Every arm is trained with each rate on three seeds and asked about entities that are neither held out nor trained on;
the rate with the highest mean accuracy is written into the experiment. The held-out entities, by which experiments are
judged, play no part.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from pipelines.experiments.arms import run_arms
from pipelines.experiments.bench import Bench, Recipe

SEEDS = (101, 102, 103)
FACTS = 150
STEPS = 40
MAX_NEW_TOKENS = 32  # for the definitions, which are asked here too
RATES = {"lora": (2e-3, 3.5e-3, 5e-3, 7e-3), "full": (1.5e-4, 3e-4, 5e-4)}
ARMS = {f"r={r}": Recipe(0.0, STEPS, r=r) for r in (1, 2, 4, 8, 16, 32)} | {"full": Recipe(0.0, STEPS, method="full")}


def accuracy(bench: Bench, recipe: Recipe) -> float:
    """The share of the tuning questions that are answered rightly after that recipe."""
    rows = [bench.example(talk, recipe.train_on) for talk in bench.conversations(bench.taught(recipe.steps * 16))]
    model = bench.train(bench.model("base"), rows, recipe)
    probes = bench.questions(bench.heldout(FACTS, short=False))
    return sum(bench.right(model, probes, MAX_NEW_TOKENS)) / len(probes)


def _repeated(_: Bench, seed: int, recipe: Recipe) -> float:
    return accuracy(Bench(seed=seed, tuning=True), recipe)


def main(names: Sequence[str]) -> None:
    """Print one line for each arm and rate."""
    import peft  # noqa: F401
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for name in names or ARMS:
        arm = ARMS[name]
        for rate in RATES[arm.method]:
            recipe = replace(arm, learning_rate=rate)
            tasks = {str(seed): partial(_repeated, seed=seed, recipe=recipe) for seed in SEEDS}
            steps = run_arms(Bench(tuning=True), tasks, steps=1, says=name)
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    found = end.value
                    break
            mean = sum(found.values()) / len(found)
            print(
                f"{name:6} {rate:8.1e} {mean:.3f}  {' '.join(f'{share:.3f}' for share in found.values())}", flush=True
            )


if __name__ == "__main__":
    main(sys.argv[1:])
