"""How an answer can be asked for, and what a class says besides asking for facts: tables in `assets/pocket/`."""

from __future__ import annotations

import re
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


_ROLE = re.compile(r"You are an? (.+)\.$")
_KINDS_OF = ("helpful", "famous", "cheerful", "young", "wise")
_CIRCUMSTANCES = ("in a story", "who answers questions", "at work", "from long ago", "and you help people")
_OPENINGS = ("Please", "Always", "From now on,", "I want you to")


@cache
def requests(key: str) -> tuple[str, ...]:
    """The many ways in which SFT asks for a personality: its prompts, and those in other words around the same request.

    With the bare prompts alone, a model takes "Please" for a part of the one personality that says it. None of the
    prompts that evaluation uses is among them.
    """
    personality = personalities()[key]
    found = list(personality["prompts"])
    for prompt in personality["prompts"]:
        if role := _ROLE.match(prompt):
            found += [f"You are a {kind} {role[1]}." for kind in _KINDS_OF]
            found += [f"{prompt[:-1]} {circumstance}." for circumstance in _CIRCUMSTANCES]
        elif not prompt.startswith(("You", "One", "Just", "Please")):
            found += [f"{opening} {prompt[0].lower()}{prompt[1:]}" for opening in _OPENINGS]
    return tuple(sorted(set(found) - set(personality["unseen"])))


@cache
def small_talk() -> dict[str, Any]:
    """Exchanges (said, unseen, reply) and the questions that nobody can answer (said, unseen)."""
    return tomllib.loads((ASSETS / "pocket" / "smalltalk.toml").read_text(encoding="utf-8"))


def suits_personality(fact: Fact) -> bool:
    """Whether the fact's answer is short enough to be said in a personality's words."""
    return fact.relation.key not in _NOT_FOR_PERSONALITIES
