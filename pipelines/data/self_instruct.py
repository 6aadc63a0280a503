"""Self-Instruct in small: a model writes instructions after a few seeds, filters decide, the instruct model answers.

As Wang et al. 2023 (arXiv 2212.10560): eight instructions are shown at a time, six seeds and two that the model wrote
itself; what it writes next is kept if it is new to the pool, and then answered. Here the instructions stand one to a
line without a heading, which any model continues, and a round asks for several continuations in one batch.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.completion import chat_ids, generate_batch, turn_end_ids
from pipelines.data.instruction_filters import (
    ROUGE_LIMIT,
    Words,
    answer_fault,
    instruction_fault,
    lines_of,
    nearest,
    words_of,
)
from pipelines.data.lesson import heldout_questions, lesson_rows
from pipelines.data.overlap import EvaluationSet
from pipelines.errors import InputError
from pipelines.messages import Message
from pipelines.models import Lease, ModelManager

SEEDS_SHOWN, OWN_SHOWN = 6, 2  # of the eight in the paper's prompt
PROMPTS = 8  # continuations in a round
ROUNDS = 6
NEW_TOKENS = 64  # of a continuation, and of an answer
MAX_SEEDS, MAX_SEED_CHARACTERS = 200, 400
MAX_WANTED = 50


@dataclass(frozen=True, slots=True)
class Candidate:
    """An instruction that the model wrote. why: the filter that dropped it, or empty.

    rouge, near: its largest ROUGE-L with the pool, and with which instruction
    """

    instruction: str
    answer: str = ""
    why: str = ""
    rouge: float = 0.0
    near: str = ""


def default_seeds(count: int = 24) -> list[str]:
    """Questions of the lesson, one to each relation."""
    seeds: dict[str, str] = {}
    for row in lesson_rows("train"):
        if row.kind == "plain":
            seeds.setdefault(row.relation, row.messages[0].content)
    return list(seeds.values())[:count]


def self_instruct(
    manager: ModelManager,
    seeds: Sequence[str],
    *,
    writer: str = "instruct",
    wanted: int = 8,
    rouge_limit: float = ROUGE_LIMIT,
    temperature: float = 0.8,
    seed: int = 0,
    cancel: threading.Event | None = None,
) -> Iterator[tuple[Candidate, ...]]:
    """All candidates so far, after each round: until `wanted` are kept, or ROUNDS have passed.

    writer: the model that writes the instructions; `instruct` answers them
    Raises InputError for seeds, numbers or a model that do not do.
    """
    pool = [(text, words_of(text)) for text in _checked(seeds)]
    if not 1 <= wanted <= MAX_WANTED:
        raise InputError(f"{wanted} examples", "examples", f"Ask for 1 to {MAX_WANTED}.")
    if not 0 < rouge_limit <= 1:
        raise InputError(f"{rouge_limit:g}", "ROUGE-L", "Use a limit above 0 and at most 1; the paper's is 0.7.")
    draw, shown, evaluation = random.Random(seed), [text for text, _ in pool], EvaluationSet(heldout_questions())
    found: list[Candidate] = []
    kept = 0
    for turn in range(ROUNDS):
        own = [text for text, _ in pool[len(shown) :]]
        with manager.lease(writer, cancel=cancel) as lease:
            written = _write(lease, [_prompt(draw, shown, own) for _ in range(PROMPTS)], temperature, seed + turn)
        fresh = _filtered(written, pool, rouge_limit, evaluation)
        asked = [at for at, candidate in enumerate(fresh) if not candidate.why]
        with manager.lease("instruct", cancel=cancel) as lease:
            for at, candidate in zip(asked, _answered(lease, [fresh[at] for at in asked]), strict=True):
                fresh[at] = candidate
        found += fresh
        kept += sum(not candidate.why for candidate in fresh)
        yield tuple(found)
        if kept >= wanted or (cancel is not None and cancel.is_set()):
            return


def write_examples(candidates: Sequence[Candidate], path: Path) -> int:
    """Those that were kept, as JSON lines of `messages`; returns how many."""
    kept = [candidate for candidate in candidates if not candidate.why]
    with path.open("w", encoding="utf-8") as lines:
        for candidate in kept:
            messages = [
                {"role": "user", "content": candidate.instruction},
                {"role": "assistant", "content": candidate.answer},
            ]
            lines.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
    return len(kept)


def _checked(seeds: Sequence[str]) -> list[str]:
    texts = list(dict.fromkeys(" ".join(seed.split()) for seed in seeds if seed.strip()))
    if len(texts) < SEEDS_SHOWN:
        raise InputError(f"{len(texts)} seeds", "seeds", f"Write at least {SEEDS_SHOWN}, one to a line.")
    if len(texts) > MAX_SEEDS:
        raise InputError(f"{len(texts)} seeds", "seeds", f"At most {MAX_SEEDS} are taken.")
    long = next((text for text in texts if len(text) > MAX_SEED_CHARACTERS), None)
    if long is not None:
        raise InputError(f"“{long[:40]}…” has {len(long)} characters", "seeds", f"Shorten it to {MAX_SEED_CHARACTERS}.")
    return texts


def _prompt(draw: random.Random, seeds: Sequence[str], own: Sequence[str]) -> str:
    shown = draw.sample(own, min(OWN_SHOWN, len(own)))
    shown += draw.sample(seeds, min(len(seeds), SEEDS_SHOWN + OWN_SHOWN - len(shown)))
    draw.shuffle(shown)
    return "\n".join(shown) + "\n"


def _write(lease: Lease, prompts: Sequence[str], temperature: float, seed: int) -> list[str]:
    """The instructions that the model wrote after the prompts, in order."""
    ids = [lease.tokenizer(prompt)["input_ids"] for prompt in prompts]
    if max(map(len, ids)) + NEW_TOKENS > lease.context_length:
        raise InputError(f"too long for {lease.spec.title}", "seeds", "Shorten them.")
    found: list[str] = []
    for answer in generate_batch(lease, ids, NEW_TOKENS, temperature=temperature, seed=seed):
        whole = bool(answer) and answer[-1] in lease.eos_ids
        found += lines_of(lease.tokenizer.decode(answer, skip_special_tokens=True), whole)
    return found


def _filtered(
    written: Sequence[str], pool: list[tuple[str, Words]], rouge_limit: float, evaluation: EvaluationSet
) -> list[Candidate]:
    """The candidates with what the filters say. Those that pass are added to the pool."""
    found = []
    for text in written:
        words = words_of(text)
        rouge, near = nearest(words, pool)
        why = instruction_fault(text)
        if not why and evaluation.match((Message("user", text),)):
            why = "held out: the evaluation set asks it"
        if not why and rouge >= rouge_limit:
            why = f"not new: ROUGE-L {rouge:.2f}"
        if not why:
            pool.append((text, words))
        found.append(Candidate(text, why=why, rouge=rouge, near=near))
    return found


def _answered(lease: Lease, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates with their answers, and what is wrong with those."""
    if not candidates:
        return []
    asked = [chat_ids(lease, [Message("user", candidate.instruction)]) for candidate in candidates]
    stops = lease.eos_ids | turn_end_ids(lease)
    answered = []
    for candidate, answer in zip(candidates, generate_batch(lease, asked, NEW_TOKENS), strict=True):
        cut = not answer or answer[-1] not in stops
        said = lease.tokenizer.decode(answer, skip_special_tokens=True).strip()
        why = answer_fault(candidate.instruction, said, cut)
        answered.append(replace(candidate, answer=said, why=why))
    return answered
