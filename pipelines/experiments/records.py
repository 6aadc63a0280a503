"""What an experiment says before it runs, while it runs, and when it is over. Plain records, no libraries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Sense = Literal["at least", "at most"]
Verdict = Literal["holds", "does not hold", "not decided with this many samples"]
HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold"
OPEN: Verdict = "not decided with this many samples"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a stage of the chapter says, and what will settle it. Written before anything runs.

    stage:      key of the stage
    claim:      the sentence that is tested
    source:     who says so, and at which scale it was shown
    claimed:    the number that is claimed, as a person reads it
    hypothesis: what should be seen on the loaded pair if the claim is true
    rule:       the conditions of the verdict in words; `Outcome.conditions` are the same as numbers
    budget:     seconds that it may take on two CPU cores
    """

    stage: str
    claim: str
    source: str
    claimed: str
    hypothesis: str
    rule: str
    budget: float


@dataclass(frozen=True, slots=True)
class Arm:
    """One thing that is compared: a share (or another number) with its 95 % interval, from `count` samples."""

    name: str
    value: float
    low: float
    high: float
    count: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """One part of the verdict rule: a measured number with its interval against a bound that was fixed in advance.

    An exact number (a largest difference, a count of bytes) has an interval of no width.
    """

    says: str
    value: float
    low: float
    high: float
    sense: Sense
    bound: float

    @property
    def verdict(self) -> Verdict:
        """It holds when the whole interval is on the right side, fails when the whole interval is on the wrong one."""
        inside, outside = (self.low >= self.bound, self.high < self.bound)
        if self.sense == "at most":
            inside, outside = (self.high <= self.bound, self.low > self.bound)
        # Not a number: the arm is broken, whatever it was meant to show.
        if self.value != self.value or self.low != self.low or self.high != self.high:
            return FAILS
        return HOLDS if inside else FAILS if outside else OPEN


def exactly(says: str, value: float, sense: Sense, bound: float) -> Condition:
    """A condition on a number that is not sampled."""
    return Condition(says, value, value, value, sense, bound)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an experiment stands: a share from 0 to 1, what it is doing, and the arms measured so far."""

    fraction: float
    says: str
    arms: tuple[Arm, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out.

    measured: one sentence with the number that stands beside the claimed one
    arms:     all of them, in the order in which they are drawn
    axis:     what the arms' numbers are
    figures:  further (name, value) pairs, as a person reads them
    remarks:  what limits the result at this scale, and what else was seen
    """

    measured: str
    arms: tuple[Arm, ...]
    conditions: tuple[Condition, ...]
    axis: str = "share of answers right"
    figures: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """All conditions hold, or one fails, or too little was seen to say. Of no condition nothing holds."""
        verdicts = {condition.verdict for condition in self.conditions}
        return FAILS if FAILS in verdicts or not verdicts else OPEN if OPEN in verdicts else HOLDS
