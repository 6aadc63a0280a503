"""Which format rows are in, by the shape of their columns and values. Never by a data set's name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.data.formats.columns import (
    CONVERSATION_COLUMNS,
    INPUTS_TARGETS,
    PROMPT_COMPLETION,
    lowered,
    nested,
    pair,
)

FORMATS = {
    "messages": "messages with role and content",
    "sharegpt": "ShareGPT: turns with from and value",
    "alpaca": "Alpaca: instruction, input, output",
    "dolly": "Dolly: instruction, context, response",
    "prompt-completion": "prompt and completion",
    "inputs-targets": "inputs and targets",
    "openassistant": "OpenAssistant: a tree by message_id and parent_id",
    "conversations-list": "turns as a list, user first (LIMA)",
    "preference": "chosen and rejected",
    "text": "plain text",
    "unknown": "not recognised",
}
EXAMINED = 200


@dataclass(frozen=True, slots=True)
class Detected:
    """`share`: how many of the examined rows have this format. `seen`: for `unknown`, what was there instead."""

    format: str
    share: float
    seen: str = ""


def detect(rows: Sequence[Any]) -> Detected:
    """The format of most of the first rows; `unknown` only where no row has a known one."""
    examined = rows[:EXAMINED]
    votes = Counter(row_format(row) for row in examined)
    known = [(count, name) for name, count in votes.most_common() if name != "unknown"]
    if not known:
        return Detected("unknown", 1.0, describe(examined))
    count, name = known[0]
    return Detected(name, count / len(examined))


def row_format(row: Any) -> str:
    """The format of one row, or `unknown`."""
    if isinstance(row, str):
        return "text" if row.strip() else "unknown"
    if isinstance(row, list):
        return _turns_format(row)
    if not isinstance(row, Mapping):
        return "unknown"
    columns = lowered(row)
    return _table_format(columns) or "unknown"


def _table_format(row: Mapping[str, Any]) -> str | None:
    if _is_tree_row(row):
        return "openassistant"
    if "chosen" in row and "rejected" in row:
        return "preference"
    for name in CONVERSATION_COLUMNS:
        turns = nested(row.get(name))
        if isinstance(turns, list) and (found := _turns_format(turns)) != "unknown":
            return found
    if isinstance(turns := nested(row.get("input")), list) and "output" in row and _turns_format(turns) == "messages":
        return "messages"  # Llama-Nemotron: the turns before the answer, and the answer
    if "instruction" in row and "output" in row:
        return "alpaca"
    if "instruction" in row and "response" in row:
        return "dolly"
    if pair(row, INPUTS_TARGETS):
        return "inputs-targets"
    if pair(row, PROMPT_COMPLETION):
        return "prompt-completion"
    if _is_turn(row):
        return "messages" if "role" in row else "sharegpt"  # a list of turns that was one conversation
    texts = [name for name, value in row.items() if isinstance(value, str)]
    if "text" in texts or (len(row) == 1 and texts and texts[0] in ("content", "document", "body")):
        return "text"
    return None


def _is_tree_row(row: Mapping[str, Any]) -> bool:
    if "message_id" in row and "parent_id" in row and "text" in row:
        return True
    prompt = nested(row.get("prompt"))
    return isinstance(prompt, Mapping) and "replies" in prompt and "text" in prompt


def _turns_format(turns: Sequence[Any]) -> str:
    turns = [nested(turn) for turn in turns]
    if not turns:
        return "unknown"
    if all(isinstance(turn, str) for turn in turns):
        return "conversations-list"
    objects = [lowered(turn) for turn in turns if isinstance(turn, Mapping)]
    if len(objects) != len(turns):
        return "unknown"
    # One broken turn must not hide what the others are; the row check names it.
    shapes = Counter(_turn_shape(turn) for turn in objects)
    return shapes.most_common(1)[0][0]


def _turn_shape(turn: Mapping[str, Any]) -> str:
    if "role" in turn and ("content" in turn or "tool_calls" in turn or "text" in turn or "value" in turn):
        return "messages"
    if "from" in turn and ("value" in turn or "content" in turn or "text" in turn):
        return "sharegpt"
    if pair(turn, (("input", "output"), ("user", "assistant"), ("human", "assistant"), ("prompt", "response"))):
        return "conversations-list"
    return "unknown"


def _is_turn(row: Mapping[str, Any]) -> bool:
    return ("role" in row and "content" in row) or ("from" in row and "value" in row)


def describe(rows: Sequence[Any]) -> str:
    """What rows look like, in words, for somebody who expected them to be known."""
    if not rows:
        return "no rows"
    shapes: Counter[str] = Counter()
    for row in rows:
        if isinstance(row, Mapping):
            shapes[f"columns {', '.join(str(key)[:40] for key in list(row)[:12]) or '(none)'}"] += 1
        elif isinstance(row, list):
            shapes[f"a list of {len(row)}"] += 1
        else:
            shapes[f"{type(row).__name__} {str(row)[:40]!r}"] += 1
    return "; ".join(shape for shape, _ in shapes.most_common(2))
