"""A finished experiment as others read it: the public record of `/prove`, JSON lines between processes, a sentence."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.experiments.records import HOLDS, Arm, Claim, Condition, Outcome, Progress

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """An outcome with what it was asked with. `seconds`: from the start of its process, imports included."""

    claim: Claim
    outcome: Outcome
    seed: int
    pair: str
    seconds: float

    @property
    def command(self) -> str:
        """What reproduces it outside the studio."""
        return command(self.claim.stage, self.seed, self.pair)

    def as_dict(self) -> Json:
        """The value of `/prove`."""
        claim, outcome = self.claim, self.outcome
        details = {
            "stage": claim.stage,
            "verdict": outcome.verdict,
            "hypothesis": claim.hypothesis,
            "rule": claim.rule,
            "budget": claim.budget,
            "seed": self.seed,
            "pair": shown_pair(self.pair),
            "command": self.command,
            "axis": outcome.axis,
            "arms": [asdict(arm) for arm in outcome.arms],
            "conditions": [asdict(one) | {"verdict": one.verdict} for one in outcome.conditions],
            "figures": [list(figure) for figure in outcome.figures],
            "remarks": list(outcome.remarks),
        }
        return {
            "claim": claim.claim,
            "source": claim.source,
            "claimed": claim.claimed,
            "measured": outcome.measured,
            "passed": outcome.verdict == HOLDS,
            "seconds": round(self.seconds, 2),
            "details": details,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Report:
        """What `as_dict` wrote."""
        details = value["details"]
        claim = Claim(
            details["stage"], value["claim"], value["source"], value["claimed"], details["hypothesis"],
            details["rule"], details["budget"],
        )  # fmt: skip
        conditions = [{key: part for key, part in one.items() if key != "verdict"} for one in details["conditions"]]
        outcome = Outcome(
            value["measured"],
            tuple(Arm(**arm) for arm in details["arms"]),
            tuple(Condition(**one) for one in conditions),
            details["axis"],
            tuple((str(name), str(text)) for name, text in details["figures"]),
            tuple(details["remarks"]),
        )
        return cls(claim, outcome, details["seed"], details["pair"], value["seconds"])

    def __str__(self) -> str:
        return f"{self.claim.claim}\n{self.outcome.verdict}: {self.outcome.measured} ({self.seconds:.1f} s)"


def command(stage: str, seed: int, pair: str) -> str:
    """The command line of an experiment."""
    other = "" if pair == "pocket" else f" --pair {shlex.quote(shown_pair(pair))}"
    return f"python -m pipelines.experiments {shlex.quote(stage)} --seed {seed}{other}"


def shown_pair(pair: str) -> str:
    """The pair as visitors may see it: of a folder only the name, where it lies is nobody's business."""
    return ",".join(f"…/{Path(part).name}" if Path(part).is_dir() else part for part in pair.split(","))


def progress_dict(progress: Progress) -> Json:
    """Progress as JSON."""
    return {"fraction": round(progress.fraction, 4), "says": progress.says, "arms": [asdict(a) for a in progress.arms]}


def read_progress(value: Mapping[str, Any]) -> Progress:
    """What `progress_dict` wrote."""
    return Progress(value["fraction"], value["says"], tuple(Arm(**arm) for arm in value["arms"]))
