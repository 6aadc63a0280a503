"""Texts and conversations as fixed rows of token ids, ready for the training loop."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pipelines.pocket.training import IGNORE_INDEX

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerFast


def pack_text(
    documents: Iterable[str], tokenizer: PreTrainedTokenizerFast, tokens: int, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """`<|bos|> document <|eos|>` one after another, cut into rows of `length`; at least `tokens` tokens in all.

    Returns input_ids and labels, both [N, length] uint16-sized int32; every token is its own label.
    """
    import numpy as np

    stream: list[int] = []
    supply = iter(documents)
    while len(stream) < tokens:
        for encoding in tokenizer(list(itertools.islice(supply, 1000)))["input_ids"]:
            stream += [*encoding, tokenizer.eos_token_id]
    count = len(stream) // length
    rows = np.array(stream[: count * length], dtype=np.int32).reshape(count, length)
    return rows, rows


def pack_conversations(
    labelled: Iterable[tuple[list[int], list[int]]], pad: int, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Whole conversations into rows of `length`, none cut: the rest of a row is padding with label −100.

    Conversations longer than a row are left out. Each begins with `<|bos|>`, at which
    training can keep it from seeing the ones before it.
    """
    import numpy as np

    inputs: list[list[int]] = []
    labels: list[list[int]] = []
    for ids, targets in labelled:
        if len(ids) > length:
            continue
        if not inputs or len(inputs[-1]) + len(ids) > length:
            inputs.append([])
            labels.append([])
        inputs[-1] += ids
        labels[-1] += targets
    padded = [row + [pad] * (length - len(row)) for row in inputs]
    masked = [row + [IGNORE_INDEX] * (length - len(row)) for row in labels]
    return np.array(padded, dtype=np.int32), np.array(masked, dtype=np.int32)
