"""The third stage within an experiment: DPO (Rafailov et al. 2023) of an adapter on the shipped preference pairs.

The reference is the same model with its adapter switched off, as in Practice. Pairs are judged by entities that no
training pair asks about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.experiments.bench import Bench, Recipe
from pipelines.finetune.conversations import PairIds, pair_ids
from pipelines.finetune.dpo import log_likelihoods, won_pairs
from pipelines.finetune.rows import Row

# The rate is that of Practice for a model of this size, and so is β.
PREFERRING = Recipe(2e-3, steps=12)
BETA = 0.1


@dataclass(frozen=True, slots=True)
class Compared:
    """Two answers to one prompt, as ids. `ids`: of the longer conversation."""

    pair: PairIds

    @property
    def ids(self) -> tuple[int, ...]:
        prompt, *answers = self.pair
        return (*prompt, *max(answers, key=len))


def preferred(bench: Bench) -> tuple[list[bool], list[bool]]:
    """Of each held-out pair, whether the instruct model finds the preferred answer likelier: before DPO, and after."""
    pad = bench.tokenizer.pad_token_id
    judged = [one.pair for one in compared(bench, "heldout")]
    model = bench.model("instruct")
    before = won_pairs(model, judged, pad)

    def loss(model: Any, batch: Sequence[Compared]) -> Any:
        return dpo_loss(model, batch, pad)

    model = bench.train(model, compared(bench, "train"), PREFERRING, loss=loss)
    return before, won_pairs(model, judged, pad)


def compared(bench: Bench, split: Literal["train", "heldout"]) -> list[Compared]:
    """The shipped pairs of that split, in the instruct model's template; for training as many as the steps need."""
    most = PREFERRING.steps * PREFERRING.batch if split == "train" else None
    rows = [Row((*one.prompt, *one.chosen), (), one.rejected[-1].content) for one in bench.preferences(split, most)]
    return [Compared(pair_ids(row, bench.template, bench.tokenizer)) for row in rows]


def dpo_loss(model: Any, batch: Sequence[Compared], pad: int) -> Any:
    """−log σ(β (Δ preferred − Δ rejected)), mean over pairs; Δ: log-likelihood with the adapter minus without."""
    import torch

    sides = [(prompt, answer) for prompt, *answers in (one.pair for one in batch) for answer in answers]
    gained = log_likelihoods(model, sides, pad)
    with torch.no_grad(), model.disable_adapter():
        reference = log_likelihoods(model, sides, pad)
    gained = gained - reference
    return -torch.nn.functional.logsigmoid(BETA * (gained[::2] - gained[1::2])).mean()
