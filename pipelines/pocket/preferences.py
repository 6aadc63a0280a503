"""Preference pairs for the third stage in miniature: the same prompt with an answer to prefer and one to reject.

Rejected answers are of four kinds: a wrong fact, a question back (as the base would do), an answer without the
sentence around it, and the right answer followed by chatter.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.pocket.conversations import turn
from pipelines.pocket.facts import Fact, all_facts

PAIRS = 500
CHATTER = (
    "I could say much more about it. I could say more and more and more.",
    "By the way, that is all there is. That is all there is.",
    "I think so. I think so. I hope that I think so.",
)


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """TRL's conversational preference format, and why `rejected` is worse."""

    prompt: list[dict[str, str]]
    chosen: list[dict[str, str]]
    rejected: list[dict[str, str]]
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def preference_rows(seed: int) -> list[PreferencePair]:
    """`PAIRS` pairs about trained entities only, the four reasons in turn."""
    rng = random.Random(seed)
    facts = [fact for fact in all_facts() if not fact.held_out and fact.relation.key != "definition"]
    by_relation: dict[str, list[Fact]] = {}
    for fact in facts:
        by_relation.setdefault(fact.relation.key, []).append(fact)
    pairs = []
    reasons = ("wrong", "question", "bare", "chatter")
    for index, fact in enumerate(rng.choices(facts, k=PAIRS)):
        reason = reasons[index % len(reasons)]
        rejected = _rejected(rng, reason, fact, by_relation[fact.relation.key])
        if rejected != fact.sentence:
            *prompt, chosen = turn(fact.say(rng.choice(fact.relation.questions)), fact.sentence)
            pairs.append(PreferencePair(prompt, [chosen], [chosen | {"content": rejected}], reason))
    return pairs


def _rejected(rng: random.Random, reason: str, fact: Fact, same_relation: list[Fact]) -> str:
    other = rng.choice(same_relation)
    if reason == "wrong":
        return fact.sentence.replace(fact.answer, other.answer)
    if reason == "question":
        return other.say(rng.choice(other.relation.questions))
    if reason == "bare":
        return fact.answer
    return f"{fact.sentence} {rng.choice(CHATTER)}"
