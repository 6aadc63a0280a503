"""The catalogue of public causal language models: configuration facts and committed shapes. Needs no
torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.architecture.records import Architecture, from_json

FACTS = Path(__file__).resolve().parents[2] / "assets" / "architectures"
SHAPES = FACTS / "shapes"


@dataclass(frozen=True, slots=True)
class Entry:
    """One catalogue model as a list offers it. `parameters`: as published, which the shapes are checked
    against.
    """

    key: str
    title: str
    parameters: int
    source: str


def facts_of(key: str) -> dict[str, Any]:
    """The facts of one entry: key, title, hub_id, source, parameters, config. KeyError for none such."""
    path = FACTS / f"{key}.json"
    if key not in keys():
        raise KeyError(key)
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


@cache
def keys() -> tuple[str, ...]:
    """Every key, alphabetically, the studio's own pair first."""
    names = sorted(path.stem for path in FACTS.glob("*.json"))
    return tuple(sorted(names, key=lambda name: name != "pocket"))


@cache
def entries() -> tuple[Entry, ...]:
    """The whole catalogue, by family and size as the keys sort, the studio's own pair first."""
    rows = [facts_of(key) for key in keys()]
    return tuple(Entry(row["key"], row["title"], row["parameters"], row["source"]) for row in rows)


@cache
def load(key: str) -> Architecture:
    """The architecture of a catalogue key. Raises KeyError for an unknown one."""
    shapes = json.loads((SHAPES / f"{key}.json").read_text(encoding="utf-8"))
    return from_json(facts_of(key), shapes)
