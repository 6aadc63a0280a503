"""The conversations of a run: which are trained on, in which order, and which are held out.

A run carries its rows with it (`data.jsonl`, `heldout.jsonl`, `taught.jsonl`), so that it can be resumed and exported
after the upload is gone from the studio, and on a machine that has none.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import InputError
from pipelines.finetune.config import FinetuneConfig, Pair
from pipelines.finetune.files import read_lines, write_atomically
from pipelines.messages import Message, as_dicts, parse_messages

# Held-out rows are drawn with a seed of their own: two runs with different seeds are judged by the same questions.
HELDOUT_SEED = 2026
HELDOUT_SHARE = 0.05
# Each typed pair is seen this often, but all together in no more than half of the rows: the rest is lesson data, so
# that the model does not forget how to answer. (Measured on the embedded pair: docs/decisions.md.)
PAIR_REPEATS = 32
PAIR_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Row:
    """One conversation that ends with the assistant.

    answers:  what its last message must contain; may be empty
    rejected: of a preference pair, the answer that its last message is preferred to
    """

    messages: tuple[Message, ...]
    answers: tuple[str, ...] = ()
    rejected: str = ""

    @property
    def prompt(self) -> tuple[Message, ...]:
        return self.messages[:-1]

    @property
    def reference(self) -> str:
        return self.messages[-1].content


@dataclass(frozen=True, slots=True)
class Rows:
    """train: in no particular order; heldout: never trained on; taught: the pairs a person typed."""

    train: tuple[Row, ...]
    heldout: tuple[Row, ...]
    taught: tuple[Row, ...] = ()

    def write(self, folder: Path) -> None:
        """Three files of JSON lines."""
        for name in ("train", "heldout", "taught"):
            lines = [
                json.dumps(
                    {"messages": as_dicts(row.messages), "answers": list(row.answers)}
                    | ({"rejected": row.rejected} if row.rejected else {}),
                    ensure_ascii=False,
                )
                for row in getattr(self, name)
            ]
            write_atomically(folder / f"{name}.jsonl", "".join(line + "\n" for line in lines))

    @classmethod
    def read(cls, folder: Path) -> Rows:
        """What `write` wrote."""
        parts = [
            tuple(
                Row(parse_messages(line["messages"]), tuple(line["answers"]), line.get("rejected", ""))
                for line in read_lines(folder / f"{name}.jsonl")
            )
            for name in ("train", "heldout", "taught")
        ]
        return cls(*parts)


def collect(config: FinetuneConfig, runs_dir: Path = Path("runs")) -> Rows:
    """All rows of the data that `config` names, and its pairs. Data sets opened in the studio are kept in `runs_dir`.

    Raises InputError for a data set nobody knows, or one without a conversation that ends with the assistant.
    """
    if config.objective == "dpo":
        return _preferences(config.data)
    rows = _lesson() if config.data == "lesson" else _dataset(config.data, runs_dir)
    return Rows(rows.train, rows.heldout, tuple(_taught(pair) for pair in config.pairs))


def trim(rows: Rows, config: FinetuneConfig) -> Rows:
    """The rows that a run of a resolved `config` will see, drawn at random, its pairs mixed in often enough."""
    seen = (config.max_steps or 1) * (config.batch_size or 1) * config.gradient_accumulation
    train = random.Random(config.seed).sample(rows.train, min(seen, len(rows.train)))
    heldout = random.Random(HELDOUT_SEED).sample(rows.heldout, min(config.eval_rows, len(rows.heldout)))
    if rows.taught:
        room = min(round(seen * PAIR_SHARE), len(train))
        times = max(1, min(PAIR_REPEATS, room // len(rows.taught)))
        train = train[: max(0, seen - times * len(rows.taught))] + list(rows.taught) * times
    return Rows(tuple(train), tuple(heldout), rows.taught)


def in_training_order(lengths: Sequence[int], batch_size: int, seed: int, by_length: bool = True) -> list[int]:
    """Row numbers in the order to train on: in random order, `by_length` in batches of like lengths.

    Batches of like lengths need little padding, so they are for models that are trained on padded batches. Sorting all
    rows would show the model short answers first; so rows are shuffled, sorted within groups of eight batches, cut into
    batches, and the batches shuffled.
    """
    draw = random.Random(seed)
    shuffled = list(range(len(lengths)))
    draw.shuffle(shuffled)
    if not by_length:
        return shuffled
    group = 8 * batch_size
    batches, rest = [], []
    for start in range(0, len(shuffled), group):
        part = sorted(shuffled[start : start + group], key=lambda row: lengths[row])
        whole = len(part) - len(part) % batch_size
        batches += [part[at : at + batch_size] for at in range(0, whole, batch_size)]
        rest += part[whole:]
    draw.shuffle(batches)
    return [row for batch in (*batches, rest) for row in batch]


def _taught(pair: Pair) -> Row:
    return Row((Message("user", pair.instruction), Message("assistant", pair.response)), (pair.response,))


def _lesson() -> Rows:
    """The lesson's plain questions. Its personalities and refusals are for the shipped instruct model: in the few
    steps of a live run they would teach the model to doubt what it knows.
    """
    from pipelines.data.lesson import lesson_rows

    train, heldout = (
        [Row(row.messages, (row.answer,) if row.answer else ()) for row in lesson_rows(split) if row.kind == "plain"]
        for split in ("train", "heldout")
    )
    return Rows(tuple(_answered(train)), tuple(row for row in _answered(heldout) if row.answers))


def _preferences(key: str) -> Rows:
    from pipelines.data.lesson import preferences

    if key != "lesson":
        raise InputError(f"'{key[:60]}' has no preference pairs", "data", "Use lesson, whose pairs the studio ships.")
    train, heldout = (
        tuple(
            Row((*pair.prompt, *pair.chosen), (pair.answer,) if pair.answer else (), pair.rejected[-1].content)
            for pair in preferences(split)
        )
        for split in ("train", "heldout")
    )
    return Rows(train, heldout)


def _dataset(key: str, runs_dir: Path) -> Rows:
    from pipelines.data.store import conversations

    rows = _answered([Row(messages, (messages[-1].content,)) for messages in conversations(key, runs_dir)])
    if not rows:
        raise InputError(
            f"'{key[:60]}' has no conversation that ends with the assistant", "data", "Look at it in the Data tab."
        )
    order = list(rows)
    random.Random(HELDOUT_SEED).shuffle(order)
    held = min(len(order) // 4, max(1, round(len(order) * HELDOUT_SHARE)), 256)
    return Rows(tuple(order[held:]), tuple(order[:held]))


def _answered(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Only rows with something to learn: a last message from the assistant, after something said to it."""
    return tuple(row for row in rows if len(row.messages) > 1 and row.messages[-1].role == "assistant")
