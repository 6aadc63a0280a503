"""Which tokens of a rendered conversation the loss sees. Never looks at the template, only at its rendering.

The rule for tokens that straddle a boundary: a token is supervised when at least one of its characters is. The model
predicts whole tokens, so the one that begins inside the header and ends inside the answer has to be learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from pipelines.errors import InputError, unknown
from pipelines.templates.types import Rendered

IGNORE_INDEX = -100  # torch.nn.CrossEntropyLoss leaves this label out

TrainOn = Literal["assistant", "last_assistant", "everything"]


class OffsetTokenizer(Protocol):
    """What is asked of a tokenizer: ids and the characters each covers (transformers' fast tokenizers)."""

    def __call__(self, text: str, *, add_special_tokens: bool, return_offsets_mapping: bool) -> Any: ...


@dataclass(frozen=True, slots=True)
class LabelledTokens:
    """One conversation of T tokens. All are parallel and unshifted (the model shifts by one).

    labels:  `input_ids[t]`, or IGNORE_INDEX
    offsets: characters of the rendered text, end exclusive; tokens of one character may share it
    roles:   whose turn the token belongs to
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    roles: tuple[str, ...]


def label(rendered: Rendered, tokenizer: OffsetTokenizer, train_on: TrainOn = "assistant") -> LabelledTokens:
    """Ids and labels of a rendering, as `apply_chat_template` tokenizes it (without special tokens added).

    Raises InputError when `train_on` supervises nothing, naming the roles found, and for a slow tokenizer.
    """
    ranges = supervised_ranges(rendered, train_on)
    try:
        encoded = tokenizer(rendered.text, add_special_tokens=False, return_offsets_mapping=True)
    except NotImplementedError as error:
        raise InputError(
            "this tokenizer cannot say which characters a token covers",
            "model",
            "Choose a model with a fast tokenizer.",
        ) from error
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    if train_on == "everything":
        labels = tuple(ids)
    else:
        touched = touching(offsets, ranges)
        labels = tuple(token if hit is not None else IGNORE_INDEX for token, hit in zip(ids, touched, strict=True))
    whose = touching(offsets, [(span.start, span.end) for span in rendered.spans])
    roles = tuple("" if hit is None else rendered.spans[hit].role for hit in whose)
    return LabelledTokens(tuple(ids), labels, tuple((start, end) for start, end in offsets), roles)


def supervised_ranges(rendered: Rendered, train_on: TrainOn) -> list[tuple[int, int]]:
    """The characters the loss sees, as ordered `(start, end)` without overlap.

    Raises InputError when there are none, and for an unknown `train_on`.
    """
    if train_on not in get_args(TrainOn):
        raise unknown(str(train_on), get_args(TrainOn), "train_on")
    if train_on == "everything":
        return [(0, len(rendered.text))]
    answers = rendered.answers
    if not answers:
        roles = ", ".join(dict.fromkeys(span.role for span in rendered.spans if span.message is not None))
        raise InputError(
            f"there is no answer to learn from (roles: {roles or 'none'})",
            "messages",
            "Add an assistant message, or train on everything.",
        )
    last = max(answer.message for answer in answers)
    return [(answer.start, answer.end) for answer in answers if train_on == "assistant" or answer.message == last]


def touching(offsets: Sequence[tuple[int, int]], ranges: Sequence[tuple[int, int]]) -> list[int | None]:
    """For each token, the position of the last of the ordered `ranges` with which it shares a character.

    The last, so that a token straddling header and answer counts as the answer's. A token of no width
    touches nothing.
    """
    touched: list[int | None] = []
    first = 0
    for start, end in offsets:
        while first < len(ranges) and ranges[first][1] <= start:
            first += 1
        hit, number = None, first
        while number < len(ranges) and ranges[number][0] < end:
            if start < end:
                hit = number
            number += 1
        touched.append(hit)
    return touched
