"""The lesson's own data: conversations about the facts that the embedded base model has read.

`heldout` asks about entities that `train` never asks about, so a right answer there was known before
fine-tuning. `preferences` pairs a good and a bad answer to the same conversation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pipelines.errors import InputError, unknown
from pipelines.messages import Message, parse_messages

DIRECTORY = Path(__file__).resolve().parents[2] / "assets" / "lesson"
LessonSplit = Literal["train", "heldout"]
SPLITS: tuple[LessonSplit, ...] = ("train", "heldout")


@dataclass(frozen=True, slots=True)
class LessonRow:
    """One conversation; entity, relation and answer say what its last answer must get right, or are empty.

    kind: `plain` (a question and its answer), `personality`, `multi-turn`, `greeting` or `unknown`
    """

    messages: tuple[Message, ...]
    entity: str = ""
    relation: str = ""
    answer: str = ""
    kind: str = "plain"


@dataclass(frozen=True, slots=True)
class Preference:
    """One prompt with the answer that is preferred and the one that is not.

    answer: what a right answer holds; reason: why `rejected` is worse (see `pipelines.pocket.preferences`)
    """

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    answer: str = ""
    reason: str = ""


def lesson_rows(split: str = "train") -> list[LessonRow]:
    """The rows of a split, in file order. Raises InputError for another split, or without the files."""
    if split not in SPLITS:
        raise unknown(split, SPLITS, "split")
    return list(_rows(split, _stamp(f"{split}.jsonl")))


def preferences(split: str = "train") -> list[Preference]:
    """The preference pairs of a split, in file order. Raises InputError for another split, or without the file."""
    if split not in SPLITS:
        raise unknown(split, SPLITS, "split")
    return [
        Preference(
            parse_messages(row["prompt"]),
            parse_messages(row["chosen"]),
            parse_messages(row["rejected"]),
            row["answer"],
            row["reason"],
        )
        for row in _objects("preferences.jsonl")
        if row["split"] == split
    ]


def heldout_questions() -> tuple[str, ...]:
    """The questions of the evaluation set: the last user turn of each held-out conversation."""
    return tuple(
        next(message.content for message in reversed(row.messages) if message.role == "user")
        for row in lesson_rows("heldout")
        if any(message.role == "user" for message in row.messages)
    )


@lru_cache(maxsize=4)
def _rows(split: str, stamp: float) -> tuple[LessonRow, ...]:
    """`stamp` makes a rebuilt file be read again."""
    return tuple(
        LessonRow(
            parse_messages(row["messages"]),
            *(str(row.get(name) or "") for name in ("entity", "relation", "answer", "kind")),
        )
        for row in _objects(f"{split}.jsonl")
    )


def _stamp(name: str) -> float:
    path = DIRECTORY / name
    if not path.is_file():
        raise InputError(f"the lesson data has no file {name}", "data", "Make it with: python -m pipelines.pocket")
    return path.stat().st_mtime


def _objects(name: str) -> Iterator[dict[str, Any]]:
    _stamp(name)
    with (DIRECTORY / name).open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
