"""Batches as TRL's collators make them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.batches import packed, padded
from pipelines.labels import LabelledTokens


def labelled(*ids: int, learned: int) -> LabelledTokens:
    """The last `learned` ids are supervised."""
    labels = [-100] * (len(ids) - learned) + list(ids[len(ids) - learned :])
    return LabelledTokens(ids, tuple(labels), tuple((n, n + 1) for n in range(len(ids))), ("user",) * len(ids))


LONG = labelled(1, 2, 3, 4, 5, learned=2)
SHORT = labelled(6, 7, 8, learned=1)


def test_padding_fills_the_shorter_row_and_is_not_learned_from() -> None:
    first, second = padded([LONG, SHORT], pad_token_id=0, max_length=8)
    assert first.input_ids == (1, 2, 3, 4, 5)
    assert second.input_ids == (6, 7, 8, 0, 0)
    assert second.labels == (-100, -100, 8, -100, -100)
    assert second.conversations == (1, 1, 1, None, None)


def test_packing_restarts_positions_and_keeps_conversations_apart() -> None:
    (row,) = packed([LONG, SHORT], pad_token_id=0, max_length=8)
    assert row.input_ids == (1, 2, 3, 4, 5, 6, 7, 8)
    assert row.positions == (0, 1, 2, 3, 4, 0, 1, 2)
    assert row.labels == (-100, -100, -100, 4, 5, -100, -100, 8)
    assert row.conversations == (0, 0, 0, 0, 0, 1, 1, 1)


def test_both_cut_at_max_length() -> None:
    first, _ = padded([LONG, SHORT], pad_token_id=0, max_length=4)
    assert first.input_ids == (1, 2, 3, 4)
    assert all(len(row.input_ids) <= 4 for row in packed([LONG, SHORT], pad_token_id=0, max_length=4))


def batches_of_trl(rows: list[LabelledTokens], folder: Path, tmp_path: Path, **options: Any) -> list[dict[str, Any]]:
    """What `SFTTrainer` itself would train on: its preparation of the rows, its collator, its data loader."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    trainer = SFTTrainer(
        model=str(folder),
        args=SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to=[], **options),
        train_dataset=Dataset.from_list([{"input_ids": row.input_ids, "labels": row.labels} for row in rows]),
        processing_class=AutoTokenizer.from_pretrained(folder),
    )
    loader = trainer.get_train_dataloader()
    return [{name: part.tolist() for name, part in batch.items() if hasattr(part, "tolist")} for batch in loader]


# (first id, tokens, learned); of the last, 20 tokens are all question
SHAPES = ((10, 9, 4), (30, 4, 2), (50, 30, 15), (90, 7, 3), (110, 2, 1), (130, 16, 8), (150, 30, 5))
ROWS = [labelled(*range(first, first + tokens), learned=learned) for first, tokens, learned in SHAPES]


def test_padding_is_what_the_trainer_trains_on(tiny_pair: Any, tmp_path: Path) -> None:
    pad = 2  # the tiny tokenizer's <|pad|>
    (batch,) = batches_of_trl(ROWS, tiny_pair.base, tmp_path, max_length=20, per_device_train_batch_size=len(ROWS))
    learned = [row for row in padded(ROWS, pad, 20) if any(name != -100 for name in row.labels)]
    assert len(learned) == len(ROWS) - 1  # the trainer leaves out what truncation leaves nothing to learn of
    rows = sorted(zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True))
    assert rows == sorted(
        (list(row.input_ids), list(row.labels), [int(whose is not None) for whose in row.conversations])
        for row in learned
    )


def test_packing_is_what_the_trainer_trains_on(tiny_pair: Any, tmp_path: Path) -> None:
    options = {"max_length": 20, "packing": True, "per_device_train_batch_size": 1, "shuffle_dataset": False}
    batches = batches_of_trl(ROWS, tiny_pair.base, tmp_path, **options)
    rows = sorted((batch["input_ids"][0], batch["labels"][0], batch["position_ids"][0]) for batch in batches)
    assert rows == sorted((list(row.input_ids), list(row.labels), list(row.positions)) for row in packed(ROWS, 2, 20))
