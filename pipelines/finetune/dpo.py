"""The third stage: direct preference optimization (Rafailov et al. 2023) of a LoRA adapter through TRL's `DPOTrainer`.

The reference is the same model with the adapter switched off. Pairs arrive tokenized (see `conversations`): both
answers are rendered with the run's template and end with its stop token, whatever it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipelines.finetune.conversations import Example, PairIds
from pipelines.labels import IGNORE_INDEX

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from trl import DPOTrainer

_COMPARED_AT_ONCE = 64  # sequences in one forward pass of the win rate


def dpo_trainer_class() -> type[DPOTrainer]:
    """TRL's trainer, which takes rows that are tokenized already. Made by a function: its import takes seconds."""
    from trl import DPOTrainer

    class TokenizedDPOTrainer(DPOTrainer):
        def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
            return dataset

    return TokenizedDPOTrainer


def win_rate(model: Any, pairs: Sequence[Example], pad: int) -> float:
    """The share of pairs whose preferred answer is likelier than the rejected one, from 0 to 1; of no pairs, 0.

    Likelihood is that of the whole answer, its end token included: the sum of its tokens' log-probabilities. Nothing
    is generated, so a long answer that is preferred has to overcome its length. The model is left in its mode.
    """
    won = won_pairs(model, [one.pair for one in pairs if one.pair], pad)
    return sum(won) / max(1, len(won))


def won_pairs(model: Any, pairs: Sequence[PairIds], pad: int) -> list[bool]:
    """Of each pair, whether the preferred answer is likelier (see `win_rate`)."""
    import torch

    sides = [(prompt, answer) for prompt, *answers in pairs for answer in answers]
    scores: list[float] = []
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for at in range(0, len(sides), _COMPARED_AT_ONCE):
                scores += log_likelihoods(model, sides[at : at + _COMPARED_AT_ONCE], pad).tolist()
    finally:
        model.train(training)
    return [chosen > rejected for chosen, rejected in zip(scores[::2], scores[1::2], strict=True)]


def log_likelihoods(model: Any, sides: Sequence[tuple[Sequence[int], Sequence[int]]], pad: int) -> torch.Tensor:
    """Of (prompt, answer) ids, log p(answer | prompt); shape (len(sides),)."""
    import torch

    width = max(len(prompt) + len(answer) for prompt, answer in sides)
    ids = torch.full((len(sides), width), pad)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, IGNORE_INDEX)
    for row, (prompt, answer) in enumerate(sides):
        length = len(prompt) + len(answer)
        ids[row, :length] = torch.tensor([*prompt, *answer])
        mask[row, :length] = 1
        labels[row, len(prompt) : length] = torch.tensor(answer)
    logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device), use_cache=False).logits
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().transpose(1, 2),
        labels[:, 1:].to(model.device),
        ignore_index=IGNORE_INDEX,
        reduction="none",
    )
    return -losses.sum(1)
