"""The road from base to chat: data, cost and ability of each stage, as published and as measured on the pocket pair."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pipelines.stages import ASSETS

_NOTES = ASSETS / "models" / "pocket-instruct" / "pocket.json"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a figure is from."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class RoadStage:
    """One stage, as the chapter has it, and a published run of it with its sources."""

    key: str
    title: str
    how: str
    chapter_data: str
    chapter_cost: str
    ability: str
    exact: str
    sources: tuple[Source, ...]

    @property
    def dollars(self) -> float:
        """The chapter's cost as a number, of a range its upper end: "$100–1,000" is 1000."""
        most = self.chapter_cost.rpartition("–")[2].strip("$+").replace(",", "")
        return float(most.rstrip("M")) * (1e6 if most.endswith("M") else 1.0)


@dataclass(frozen=True, slots=True)
class OwnStage:
    """The same stage of the pocket pair, as its recipe measured it; sentences. seconds: of `cost`, as a number"""

    data: str
    cost: str
    ability: str
    seconds: float = 0.0


@cache
def road() -> tuple[RoadStage, ...]:
    """The stages in their order."""
    rows = json.loads((ASSETS / "pipeline.json").read_text(encoding="utf-8"))["stages"]
    return tuple(RoadStage(**row | {"sources": tuple(Source(**source) for source in row["sources"])}) for row in rows)


def own_road(notes: Mapping[str, Any] | None = None) -> dict[str, OwnStage]:
    """The pocket pair's row of the stages that it went through, by key; empty where its recipe left no figures."""
    if notes is None:
        try:
            notes = json.loads(_NOTES.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
    machine = f" on {notes['machine']}" if "machine" in notes else ""
    figures = notes.get("figures", {})
    base, instruct = figures.get("base", {}), figures.get("instruct", {})
    own = {}
    if "base" in notes:
        tokens, seconds = notes["base"]["tokens"], notes["base"]["seconds"]
        own["base"] = OwnStage(
            f"{tokens / 1e6:.1f}M tokens",
            f"{_duration(seconds)}{machine}",
            _shares(
                base,
                ("cloze", "of sentences completed with the fact"),
                ("question_asks_on", "of bare questions continued with questions"),
                ("question_answered", "answered"),
            ),
            seconds,
        )
    if "sft" in notes:
        examples, seconds = notes["sft"]["examples"], notes["sft"]["seconds"]
        own["sft"] = OwnStage(
            f"{examples:,} conversations",
            f"{_duration(seconds)}{machine}",
            _shares(
                instruct,
                ("plain", "of questions about things never asked in SFT answered right"),
                ("stops", "stop by itself"),
            ),
            seconds,
        )
    if "preferences" in notes:
        found = notes["preferences"]
        (won_before, won_after), (right_before, right_after) = found["win_rate"], found["right"]
        own["preferences"] = OwnStage(
            f"{found['pairs']:,} comparisons",
            f"{_duration(found['seconds'])}{machine}",
            f"{100 * won_before:.0f} → {100 * won_after:.0f} % of held-out pairs won: the preferred answer is the "
            f"likelier. {100 * right_before:.0f} → {100 * right_after:.0f} % of held-out questions answered right.",
            found["seconds"],
        )
    return own


def _shares(figures: Mapping[str, Any], *wanted: tuple[str, str]) -> str:
    """'99.1 % of …, 2.0 % …' for the figures that are there."""
    found = [f"{100 * figures[key]:.1f} % {text}" for key, text in wanted if key in figures]
    return ", ".join(found) + "." if found else ""


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
