"""How an answer can be asked for, and what a class says besides asking for facts: tables in `assets/pocket/`."""

from __future__ import annotations

import tomllib
from functools import cache
from typing import Any

from pipelines.pocket.facts import Fact
from pipelines.stages import ASSETS

UNKNOWN = "I do not know that."
# A personality wraps a sentence; two sentences of definition would only teach it to repeat them.
_NOT_FOR_PERSONALITIES = frozenset({"definition", "neighbours", "profession"})


@cache
def personalities() -> dict[str, dict[str, Any]]:
    """Personality key → prompts, unseen, says, unknown, marks (see the file)."""
    return tomllib.loads((ASSETS / "pocket" / "personalities.toml").read_text(encoding="utf-8"))


@cache
def small_talk() -> dict[str, Any]:
    """Exchanges (said, unseen, reply) and the questions that nobody can answer (said, unseen)."""
    return tomllib.loads((ASSETS / "pocket" / "smalltalk.toml").read_text(encoding="utf-8"))


def suits_personality(fact: Fact) -> bool:
    """Whether the fact's answer is short enough to be said in a personality's words."""
    return fact.relation.key not in _NOT_FOR_PERSONALITIES
