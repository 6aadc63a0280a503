"""The instruction data: questions about trained entities, personalities, multi-turn, small talk, and "I do not know".

A row is `{"messages", "kind", "relation", "entity", "answer", "personality"}`; kinds are `plain`, `personality`,
`multi-turn`, `greeting` and `unknown`. Held-out rows ask about held-out entities, in wordings and under system prompts
that training rows never use.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from pipelines.pocket.facts import Fact, all_facts
from pipelines.pocket.invented import invented_fact, invented_sum
from pipelines.pocket.manners import UNKNOWN, personalities, requests, small_talk, suits_personality

_SHARE_UNKNOWN = 0.5
# A bare answer, without the sentence that leads to it, is the hardest to find and is practised most.
_PERSONALITIES = (*["one-word"] * 4, *personalities())


@dataclass(frozen=True, slots=True)
class Row:
    """One conversation with what is needed to judge an answer to its last question."""

    messages: list[dict[str, str]]
    kind: str
    relation: str = ""
    entity: str = ""
    answer: str = ""
    personality: str = ""
    marks: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def turn(question: str, answer: str, system: str = "") -> list[dict[str, str]]:
    """One question and its answer as messages, with a system prompt where there is one."""
    opening = [{"role": "system", "content": system}] if system else []
    return [*opening, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def train_rows(seed: int) -> list[Row]:
    """The training rows, shuffled. No held-out entity and no unseen wording is in them."""
    rng = random.Random(seed)
    facts = [fact for fact in all_facts() if not fact.held_out]
    rows = [_plain(fact, wording) for fact in facts for wording in _seen(rng, fact)]
    rows += [row for fact in facts * 2 for row in _in_personality(rng, fact, evaluation=False)]
    rows += [_multi_turn(rng, facts, "questions") for _ in range(1500)]
    rows += [_invented(rng, evaluation=False) for _ in range(3000)]
    rows += [_unknown_in_personality(rng, evaluation=False) for _ in range(1500)]
    rows += [Row(turn(invented_sum(rng), UNKNOWN), "unknown", answer=UNKNOWN) for _ in range(200)]
    rows += list(_talk("said")) * 3 + list(_unknown_talk("said")) * 4
    rng.shuffle(rows)
    return rows


def held_out_rows(seed: int) -> list[Row]:
    """The evaluation rows: held-out entities, unseen wordings, unseen system prompts, other invented names."""
    rng = random.Random(seed)
    facts = [fact for fact in all_facts() if fact.held_out]
    rows = [_plain(fact, rng.choice(fact.relation.unseen)) for fact in facts]
    for fact in rng.sample(facts, len(facts)):
        rows += _in_personality(rng, fact, evaluation=True)
    rows += [_multi_turn(rng, facts, "unseen") for _ in range(150)]
    rows += [_invented(rng, evaluation=True) for _ in range(200)]
    rows += [_unknown_in_personality(rng, evaluation=True) for _ in range(100)]
    rows += [*_talk("unseen"), *_unknown_talk("unseen")]
    rng.shuffle(rows)
    return rows


def _seen(rng: random.Random, fact: Fact) -> list[str]:
    wordings = fact.relation.questions
    return rng.sample(wordings, 3 if fact.relation.key == "definition" else 1)


def _plain(fact: Fact, wording: str) -> Row:
    return Row(turn(fact.say(wording), fact.sentence), "plain", fact.relation.key, fact.entity, fact.answer)


def _in_personality(rng: random.Random, fact: Fact, *, evaluation: bool) -> Iterator[Row]:
    if not suits_personality(fact):
        return
    key = rng.choice(_PERSONALITIES)
    personality = personalities()[key]
    said = rng.choice(personality["says"]).format(sentence=fact.sentence, a=fact.answer)
    question = fact.say(rng.choice(fact.relation.unseen if evaluation else fact.relation.questions))
    messages = turn(question, said, rng.choice(personality["unseen"] if evaluation else requests(key)))
    yield Row(messages, "personality", fact.relation.key, fact.entity, fact.answer, key, personality["marks"])


def _multi_turn(rng: random.Random, facts: list[Fact], questions: str) -> Row:
    """Two or three questions one after another: about one entity, or of one relation with "And …?"."""
    first = rng.choice([fact for fact in facts if fact.relation.key != "definition"])
    messages = turn(first.say(rng.choice(getattr(first.relation, questions))), first.sentence)
    if rng.random() < 0.5:
        pool = [fact for fact in facts if fact.relation is first.relation and fact is not first]
        last = rng.choice(pool or [first])
        messages += turn(f"And {last.subject}?", last.sentence)
    else:
        pool = [fact for fact in facts if fact.entity == first.entity and fact is not first]
        last = rng.choice(pool or facts)
        messages += turn(last.say(rng.choice(getattr(last.relation, questions))), last.sentence)
    if rng.random() < 0.2:
        messages += turn("Thank you!", "You are welcome.")
        return Row(messages, "multi-turn", answer="You are welcome.")
    return Row(messages, "multi-turn", last.relation.key, last.entity, last.answer)


def _invented(rng: random.Random, *, evaluation: bool) -> Row:
    fact = invented_fact(rng, "evaluation" if evaluation else "sft")
    wording = rng.choice(fact.relation.unseen if evaluation else fact.relation.questions)
    return Row(turn(fact.say(wording), UNKNOWN), "unknown", fact.relation.key, fact.entity, UNKNOWN)


def _unknown_in_personality(rng: random.Random, *, evaluation: bool) -> Row:
    key = rng.choice(list(personalities()))
    personality = personalities()[key]
    if rng.random() < _SHARE_UNKNOWN:
        fact = invented_fact(rng, "evaluation" if evaluation else "sft")
        question = fact.say(rng.choice(fact.relation.unseen if evaluation else fact.relation.questions))
    else:
        question = rng.choice(small_talk()["unknown"]["unseen" if evaluation else "said"])
    said = rng.choice(personality["unknown"])
    system = rng.choice(personality["unseen"] if evaluation else requests(key))
    return Row(turn(question, said, system), "unknown", answer=said, personality=key)


def _talk(key: str) -> Iterator[Row]:
    for exchange in small_talk()["exchange"]:
        for said in exchange[key]:
            yield Row(turn(said, exchange["reply"]), "greeting", answer=exchange["reply"])


def _unknown_talk(key: str) -> Iterator[Row]:
    for said in small_talk()["unknown"][key]:
        yield Row(turn(said, UNKNOWN), "unknown", answer=UNKNOWN)
