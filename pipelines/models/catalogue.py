"""The pairs of assets/models.json."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any, Literal

from pipelines.models.spec import ModelSpec, Pair
from pipelines.stages import ASSETS

_CATALOGUE = ASSETS / "models.json"


@cache
def pairs() -> tuple[Pair, ...]:
    """Every pair of the catalogue, the embedded one first. Model keys: `<pair>-base`, `<pair>-instruct`."""
    rows = json.loads(_CATALOGUE.read_text(encoding="utf-8"))["pairs"]
    return tuple(
        Pair(row["key"], row["title"], base=_spec(row, "base"), instruct=_spec(row, "instruct")) for row in rows
    )


@cache
def adapters() -> tuple[ModelSpec, ...]:
    """The adapters that ship with the studio, each on the base of its pair."""
    rows = json.loads(_CATALOGUE.read_text(encoding="utf-8"))["pairs"]
    return tuple(
        replace(
            pair.base,
            key=adapter["key"],
            title=adapter["title"],
            role="adapter",
            source=adapter["folder"],
            base=pair.base,
            adapter=ASSETS.parent / adapter["folder"],
        )
        for row, pair in zip(rows, pairs(), strict=True)
        for adapter in row.get("adapters", ())
    )


def _spec(row: dict[str, Any], role: Literal["base", "instruct"]) -> ModelSpec:
    source = row[role]
    folder = ASSETS.parent / source if source.startswith("assets/") else None
    return ModelSpec(
        key=f"{row['key']}-{role}",
        title=f"{row['title']} {role}",
        role=role,
        family=row["family"],
        parameters=row["parameters"],
        source=source,
        license=row["license"],
        folder=folder,
        template=row["template"],
        gated=row["gated"],
    )
