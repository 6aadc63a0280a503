"""Several labelled conversations as one training batch, made by TRL's own collator: padded, or packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.labels import LabelledTokens


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One row of T tokens; all are parallel.

    conversations: which conversation a token comes from, from 0; None for padding
    positions:     position ids; packed, they begin again at each conversation
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    positions: tuple[int, ...]
    conversations: tuple[int | None, ...]


def padded(conversations: Sequence[LabelledTokens], pad_token_id: int, max_length: int) -> tuple[BatchRow, ...]:
    """One row for each conversation, cut at `max_length` and filled up to the longest with padding."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    collate = DataCollatorForLanguageModeling(pad_token_id=pad_token_id, return_position_ids=True)
    batch = collate(_examples(conversations, max_length))
    rows = []
    for number, (ids, labels, positions, attention) in enumerate(
        zip(
            *(batch[name].tolist() for name in ("input_ids", "labels", "position_ids", "attention_mask")),
            strict=True,
        )
    ):
        whose = tuple(number if seen else None for seen in attention)
        rows.append(BatchRow(tuple(ids), tuple(labels), tuple(positions), whose))
    return tuple(rows)


def packed(conversations: Sequence[LabelledTokens], pad_token_id: int, max_length: int) -> tuple[BatchRow, ...]:
    """Rows of at most `max_length` tokens holding several conversations each, by TRL's `pack_dataset` (best fit
    decreasing). The first label of each conversation is -100: no token before it belongs to it."""
    from datasets import Dataset
    from trl import pack_dataset
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    examples = [
        {**example, "conversation": [number] * len(example["input_ids"])}
        for number, example in enumerate(_examples(conversations, max_length))
    ]
    collate = DataCollatorForLanguageModeling(pad_token_id=pad_token_id, padding_free=True)
    rows = []
    for row in pack_dataset(Dataset.from_list(examples), seq_length=max_length, strategy="bfd"):
        batch = collate([{name: row[name] for name in ("input_ids", "labels", "seq_lengths")}])
        rows.append(
            BatchRow(
                tuple(batch["input_ids"][0].tolist()),
                tuple(batch["labels"][0].tolist()),
                tuple(batch["position_ids"][0].tolist()),
                tuple(row["conversation"]),
            )
        )
    return tuple(rows)


def _examples(conversations: Sequence[LabelledTokens], max_length: int) -> list[dict[str, list[int]]]:
    return [
        {"input_ids": list(each.input_ids[:max_length]), "labels": list(each.labels[:max_length])}
        for each in conversations
    ]
