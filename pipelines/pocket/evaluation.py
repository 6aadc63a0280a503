"""What the pair can do, measured on held-out entities, unseen wordings, unseen system prompts and invented names."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipelines.finetune.evaluate import Answer, answer_all, is_right, normalise
from pipelines.pocket.conversations import Row
from pipelines.pocket.facts import Fact, all_facts
from pipelines.pocket.tokenizer import END

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

# A definition's first words do not determine the rest in one way only.
_NOT_CLOZE = frozenset({"definition"})
_ORDER = re.compile(r"(Name|Explain|Tell me)\b")  # questions that carry no question mark
CLOZE_TOKENS = 24
UNLEARNED = 0.05
SHEETS, SHEET_TOKENS, SHEET_TEMPERATURE = 40, 160, 0.8


def evaluate_base(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int) -> dict[str, Any]:
    """Cloze accuracy, what the base does with a bare question, and how varied its quiz sheets are."""
    rng = random.Random(seed)
    facts = [fact for fact in all_facts() if fact.held_out and fact.relation.key not in _NOT_CLOZE]
    right = completes(model, tokenizer, facts)
    eos = [tokenizer.eos_token_id]
    questions = [fact.say(rng.choice(fact.relation.unseen)) for fact in facts]
    replies = answer_all(model, tokenizer, _raw(tokenizer, questions), 40, eos)
    kinds = [reply_kind(answer.text, fact.answer) for answer, fact in zip(replies, facts, strict=True)]
    return {
        "cloze": _share(right),
        "cloze_by_relation": _by_relation(facts, right),
        "question_answered": _share([kind == "answers" for kind in kinds]),
        "question_asks_on": _share([kind == "asks on" for kind in kinds]),
        "distinct_questions": _distinct(model, tokenizer, questions[:SHEETS], seed),
        "facts": len(facts),
    }


def completes(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, facts: Sequence[Fact]) -> list[bool]:
    """For each fact, whether the model, given its cloze, goes on with its answer."""
    prompts = _raw(tokenizer, [fact.cloze for fact in facts])
    replies = answer_all(model, tokenizer, prompts, CLOZE_TOKENS, [tokenizer.eos_token_id])
    return [_begins(reply.text, fact.answer) for reply, fact in zip(replies, facts, strict=True)]


def unlearned(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> tuple[str, ...]:
    """The relations of which the model misses more than `UNLEARNED` of the clozes, trained and held-out ones alike."""
    facts = [fact for fact in all_facts() if fact.relation.key not in _NOT_CLOZE]
    shares = _by_relation(facts, completes(model, tokenizer, facts))
    return tuple(key for key, share in shares.items() if share < 1 - UNLEARNED)


def reply_kind(continuation: str, answer: str) -> str:
    """What a base makes of a bare question: "answers", "asks on" or "other".

    It answers if the answer stands in the text before the first further question; it asks on if it does not answer
    and a further question follows.
    """
    said: list[str] = []
    asks = False
    for sentence in filter(str.strip, re.split(r"(?<=[.?!])\s+|\n+", continuation)):
        if "?" in sentence or _ORDER.match(sentence):
            asks = True
            break
        said.append(sentence)
    if f" {normalise(answer)} " in f" {normalise(' '.join(said))} ":
        return "answers"
    return "asks on" if asks else "other"


def evaluate_instruct(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: Sequence[Row]
) -> dict[str, Any]:
    """Accuracy, stopping, personalities and honesty over held-out rows."""
    ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(END)]
    prompts = [
        tokenizer.apply_chat_template(row.messages[:-1], add_generation_prompt=True)["input_ids"] for row in rows
    ]
    answers = answer_all(model, tokenizer, prompts, 72, ends)
    judged: dict[str, list[bool]] = defaultdict(list)
    plain_relations, plain_right = [], []
    for row, answer in zip(rows, answers, strict=True):
        judged["stops"].append(answer.stopped)
        if row.kind == "unknown":
            judged["unknown"].append(says_unknown(answer.text))
        elif row.kind == "personality":
            judged[f"follows {row.personality}"].append(follows(row, answer))
            judged["follows"].append(follows(row, answer))
            judged["personality right"].append(f" {normalise(row.answer)} " in f" {normalise(answer.text)} ")
        else:
            right = is_right(answer, [row.answer]) if "?" not in row.answer else answer.text == row.answer
            judged[row.kind].append(right)
            if row.kind == "plain":
                plain_relations.append(row.relation)
                plain_right.append(right)
    by_relation: dict[str, list[bool]] = defaultdict(list)
    for relation, right in zip(plain_relations, plain_right, strict=True):
        by_relation[relation].append(right)
    shares = {name: _share(values) for name, values in sorted(judged.items())}
    return shares | {"plain_by_relation": {key: _share(values) for key, values in by_relation.items()}}


def says_unknown(text: str) -> bool:
    return "do not know" in text or normalise(text) == "unknown"


def follows(row: Row, answer: Answer) -> bool:
    """Whether an answer keeps to its personality: its marks, one word, or a full sentence. Not whether it is right.

    "One word" allows as many words as the right answer has, since "Alexander Graham Bell" is one name.
    """
    words = normalise(answer.text).split()
    if says_unknown(answer.text):
        return False
    if row.personality == "one-word":
        return 0 < len(words) <= max(1, len(normalise(row.answer).split()))
    if row.personality == "full-sentence":
        return len(answer.text.split()) >= 3 and answer.text.rstrip().endswith(".")
    return all(mark in answer.text for mark in row.marks)


def _raw(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[list[int]]:
    return tokenizer(list(texts))["input_ids"]


def _begins(text: str, answer: str) -> bool:
    return f"{normalise(text)} ".startswith(f"{normalise(answer)} ")


def _distinct(model: Any, tokenizer: Any, questions: Sequence[str], seed: int) -> float:
    """Mean share of different questions within a sampled sheet."""
    import torch

    torch.manual_seed(seed)
    shares = []
    for prompt in _raw(tokenizer, questions):
        ids = torch.tensor([prompt])
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=SHEET_TEMPERATURE,
            top_k=0,
            max_new_tokens=SHEET_TOKENS,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        sheet = tokenizer.decode(out[0], skip_special_tokens=True)
        asked = [re.sub(r"^\d+\. ", "", line).strip() for line in sheet.split("\n") if line.strip()]
        asked = asked[:-1] if len(asked) > 1 and len(out[0]) - len(prompt) >= SHEET_TOKENS else asked
        shares.append(len(set(asked)) / len(asked))
    return round(sum(shares) / len(shares), 4)


def _share(values: Sequence[bool]) -> float:
    return round(sum(values) / max(1, len(values)), 4)


def _by_relation(facts: Sequence[Fact], right: Sequence[bool]) -> dict[str, float]:
    groups: dict[str, list[bool]] = defaultdict(list)
    for fact, value in zip(facts, right, strict=True):
        groups[fact.relation.key].append(value)
    return {key: _share(values) for key, values in groups.items()}
