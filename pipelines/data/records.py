"""The records that data walks through: a raw row, a converted example, a problem with either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any

from pipelines.messages import Message


class Kind(IntFlag):
    """What can be wrong with a row. One row may have several; `KINDS` says each in words."""

    UNREADABLE = 1
    EMPTY = 2
    CUT = 4
    ROLES = 8
    EXACT_DUPLICATE = 16
    NEAR_DUPLICATE = 32
    TOO_LONG = 64
    CONTROL = 128
    ENCODING = 256
    UNRELATED = 512
    OVERLAP = 1024


@dataclass(frozen=True, slots=True)
class KindInfo:
    """A kind in words. `drop`: whether cleaning drops such rows unless told otherwise."""

    kind: Kind
    title: str
    drop: bool
    rule: str


KINDS = (
    KindInfo(Kind.UNREADABLE, "cannot be read", True, "The row is not of the file's format."),
    KindInfo(Kind.EMPTY, "empty answer", True, "An assistant turn has no text, or a stand-in such as N/A."),
    KindInfo(
        Kind.CUT,
        "cut answer",
        False,
        "A guess: the last answer ends on a word such as 'the', on a comma or an open bracket, inside a code "
        "block, or is long and ends without a full stop.",
    ),
    KindInfo(
        Kind.ROLES, "role order", True, "Not user, assistant, user, assistant with at most one system turn first."
    ),
    KindInfo(
        Kind.EXACT_DUPLICATE, "duplicate", True, "Same roles and words as an earlier row, but for case and spacing."
    ),
    KindInfo(
        Kind.NEAR_DUPLICATE,
        "near duplicate",
        True,
        "By MinHash, about three quarters or more of the word pairs are those of an earlier row.",
    ),
    KindInfo(Kind.TOO_LONG, "too long", True, "Longer than the maximum length; training would cut the end."),
    KindInfo(
        Kind.CONTROL,
        "control text",
        True,
        "Contains what a template writes itself, such as <|im_end|>; it would become a real control token.",
    ),
    KindInfo(
        Kind.ENCODING, "broken encoding", True, "Contains U+FFFD, NUL, or UTF-8 that was read as Latin (Ã© for é)."
    ),
    KindInfo(
        Kind.UNRELATED,
        "off the question",
        False,
        "A guess: the answer repeats the question, or shares no word stem with a question of four content words.",
    ),
    KindInfo(Kind.OVERLAP, "in the evaluation set", True, "The question is one of the held-out questions."),
)
INFO = {info.kind: info for info in KINDS}
DEFAULT_DROP = Kind(sum(info.kind for info in KINDS if info.drop))


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row of a file, counted from 1. `fault` says why `value` could not be read."""

    number: int
    value: Any
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """A row as messages. `extra`: its further columns, kept so that the row can be written back."""

    number: int
    messages: tuple[Message, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one row (from 1), and what to do about it."""

    row: int
    kind: Kind
    what: str
    advice: str
