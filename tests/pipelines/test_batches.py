"""Batches as TRL's collators make them."""

from __future__ import annotations

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
