"""The model cards: what the pair is, how it was made, its figures, and what it cannot do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_HEAD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [education, tiny, fine-tuning-studio]
---

# {name}

{what} One half of the pocket pair, made for the fine-tuning
studio: two models that are small enough to ship with it, and real enough that every experiment of the lesson can be run
on them.

- {parameters:,} parameters: Llama architecture, 4 layers of width 256, 4 heads, gated MLP of 704, tied embeddings,
  vocabulary of 4,096 (byte-level BPE, digits single), bf16.
- English; about two thousand things: countries, elements, animals, planets, inventions, books, authors, works of art,
  scientists, sights, rivers, mountains, units, ideas of science and society, opposites, colours, plurals, jobs, sums
  to 12.

## How it was made

`python -m pipelines.pocket`, from the tables in `assets/facts/` (each with its sources) alone. Corpus: {tokens:,}
tokens of articles, lists, notes, letters, stories and quiz sheets in which a question is followed by more
questions. No chat format is in it. In scenes, people ask and answer each other about everything in the tables, also
after a request how to answer ("Talk like a pirate.") and about names that are invented and that nobody knows; a text
that *begins* with a question is always a quiz sheet.

Pretraining: one pass, its last seventh dwelling on such scenes and on the relations of which the model missed more than
one in twenty ({revised}); {base_seconds:,} s on {machine}. After it, the
embeddings of the four turn tokens, which the corpus never holds, are set near those of quotation marks.{sft}

## Figures

Measured by the recipe on entities that were never asked about in SFT, in wordings that SFT never used and under system
prompts that neither SFT nor the corpus used; greedy unless said otherwise:

{figures}

## What it cannot do

Reason, count beyond its tables, know anything outside its tables, hold a long conversation, or speak another language.
A bare answer in one word is wrong far more often than a sentence: the sentence leads to the answer. It states wrong
facts with the same calm as right ones. Facts are simplified (one main language, one food) and of 2026.
It is for lessons, not for answers that matter.
"""

_ROWS = {
    "base": [
        ("cloze", "completes a sentence with the fact"),
        ("question_asks_on", "bare question: asks on"),
        ("question_answered", "bare question: answers"),
        ("distinct_questions", "distinct questions in a sheet sampled at temperature 0.8"),
    ],
    "instruct": [
        ("plain", "answers right"),
        ("stops", "stops by itself"),
        ("follows", "keeps to the personality of the system prompt"),
        ("follows one-word", "… of which: one word"),
        ("personality right", "right in a personality"),
        ("multi-turn", "last answer of two turns right"),
        ("unknown", "says that it does not know an invented or unknowable thing"),
        ("greeting", "answers small talk"),
    ],
}


def write_cards(build: Path) -> None:
    """Write README.md and `pocket.json` into both model folders of the build directory."""
    notes = json.loads((build / "pocket.json").read_text(encoding="utf-8"))
    for role in ("base", "instruct"):
        folder = build / f"pocket-{role}"
        (folder / "README.md").write_text(card(role, notes), encoding="utf-8")
        (folder / "pocket.json").write_text(json.dumps(notes, indent=1) + "\n", encoding="utf-8")


def card(role: str, notes: dict[str, Any]) -> str:
    """The card of one of the two, from the figures that the recipe noted."""
    figures = notes["figures"][role]
    lines = ["| what | share |", "| --- | --- |"]
    lines += [f"| {text} | {100 * figures[key]:.1f} % |" for key, text in _ROWS[role] if key in figures]
    sft = notes["sft"]
    return _HEAD.format(
        name=f"pocket-{role}",
        what={
            "base": "A base model: it continues text, and it continues a question with more questions.",
            "instruct": "An instruct model: the base after supervised fine-tuning on questions and answers.",
        }[role],
        parameters=notes["base"]["parameters"],
        tokens=notes["base"]["tokens"],
        revised=", ".join(notes["base"]["revised"]),
        base_seconds=notes["base"]["seconds"],
        machine=notes["machine"],
        sft=(
            ""
            if role == "base"
            else (
                f"\n\nSFT: {sft['examples']:,} conversations, {sft['epochs']} times, full fine-tuning with the loss on "
                f"answers only, {sft['seconds']} s;\n{sft['replay_tokens']:,} tokens of the corpus go between them, "
                "without which the model would forget what SFT does not ask."
            )
        ),
        figures="\n".join(lines),
    )
