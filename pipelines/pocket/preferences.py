"""Preference pairs for the third stage in miniature: the same prompt with an answer to prefer and one to reject.

What these raters prefer is a right answer in a whole sentence that ends politely. Rejected answers are of five kinds: a
wrong fact, a question back (as the base would do), an answer without the sentence around it, the right answer followed
by chatter, and the right answer without the politeness. The instruct model has never seen the politeness, so a run has
something to learn from the pairs; the other kinds keep it from learning only that.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipelines.pocket.conversations import turn
from pipelines.pocket.facts import Fact, all_facts

PAIRS = {"train": 600, "heldout": 150}
REASONS = ("wrong", "question", "bare", "chatter", "plain")
POLITE = "You are welcome."
CHATTER = (
    "I could say much more about it. I could say more and more and more.",
    "By the way, that is all there is. That is all there is.",
    "I think so. I think so. I hope that I think so.",
)


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """TRL's conversational preference format, why `rejected` is worse, and the fact that was asked for.

    split: `heldout` asks about entities that no training row asks about, in wordings that none uses
    """

    prompt: list[dict[str, str]]
    chosen: list[dict[str, str]]
    rejected: list[dict[str, str]]
    reason: str
    answer: str
    split: Literal["train", "heldout"]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def preference_rows(seed: int) -> list[PreferencePair]:
    """The pairs of both splits, the reasons in turn; training pairs first."""
    rng = random.Random(seed)
    facts = [fact for fact in all_facts() if fact.relation.key != "definition"]
    return [*_pairs(rng, facts, "train"), *_pairs(rng, facts, "heldout")]


def _pairs(rng: random.Random, facts: list[Fact], split: Literal["train", "heldout"]) -> list[PreferencePair]:
    facts = [fact for fact in facts if fact.held_out == (split == "heldout")]
    by_relation: dict[str, list[Fact]] = {}
    for fact in facts:
        by_relation.setdefault(fact.relation.key, []).append(fact)
    pairs = []
    for index, fact in enumerate(rng.choices(facts, k=PAIRS[split])):
        reason = REASONS[index % len(REASONS)]
        rejected = _rejected(rng, reason, fact, rng.choice(by_relation[fact.relation.key]))
        if reason != "wrong" or rejected != fact.sentence:
            wordings = fact.relation.unseen if split == "heldout" else fact.relation.questions
            *prompt, chosen = turn(fact.say(rng.choice(wordings)), f"{fact.sentence} {POLITE}")
            answers = [chosen], [chosen | {"content": rejected}]
            pairs.append(PreferencePair(prompt, *answers, reason, fact.answer, split))
    return pairs


def _rejected(rng: random.Random, reason: str, fact: Fact, other: Fact) -> str:
    if reason == "wrong":
        return fact.sentence.replace(fact.answer, other.answer)
    if reason == "question":
        return other.say(rng.choice(other.relation.questions))
    if reason == "bare":
        return fact.answer
    return fact.sentence if reason == "plain" else f"{fact.sentence} {rng.choice(CHATTER)}"
