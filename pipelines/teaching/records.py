"""What a demonstration has to show, whatever it ran: answers, numbers, bars, tokens, rows, and a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.loss_mask import MaskedToken


@dataclass(frozen=True, slots=True)
class Said:
    """One model's answer.

    title: who answers; form: how it was asked
    given: what it was given, verbatim, where that is the point; else empty
    right: whether it is what was asked for; None while it is written, and where that is not judged
    note:  what is to be seen in it, a few words
    ended: False while it is written; stopped: the model ended it by itself
    """

    title: str
    form: str
    text: str = ""
    given: str = ""
    right: bool | None = None
    note: str = ""
    ended: bool = True
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A number as a person reads it, and what it is."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """share: 0 to 1 of the axis; shown: the number beside it."""

    name: str
    share: float
    shown: str


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars under one heading that says what they are."""

    heading: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A training row with a fault. found: what the check says of it; empty where it sees nothing."""

    asked: str
    said: str
    fault: str
    found: str


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What is to be seen at a demonstration, now or while it is still running.

    doing:   what is being run, while it runs
    outcome: the choice of the prediction that came true; None while that is open, and where it cannot be said
    limits:  what could not be run here, a sentence each
    done:    nothing more will come
    seconds: it took
    """

    stage: str
    answers: tuple[Said, ...] = ()
    figures: tuple[Figure, ...] = ()
    bars: tuple[Bars, ...] = ()
    tokens: tuple[MaskedToken, ...] = ()
    rows: tuple[ShownRow, ...] = ()
    conclusion: str = ""
    outcome: int | None = None
    limits: tuple[str, ...] = ()
    doing: str = ""
    done: bool = False
    seconds: float = 0.0
