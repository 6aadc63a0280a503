"""How columns are recognised: names without regard to case, values whether nested or JSON in a cell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipelines.untrusted_json import read_json

# Columns that hold a conversation, as published sets name them. The order decides where a row has several.
CONVERSATION_COLUMNS = (
    "messages",
    "conversations",
    "conversation",
    "dialogue",
    "dialog",
    "turns",
    "chat",
    "data",
    "items",
)

# Question and answer columns of the prompt-completion family, most specific first.
PROMPT_COMPLETION = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("prompt", "answer"),
    ("prompt", "output"),
    ("question", "response"),
    ("question", "answer"),
    ("query", "response"),
    ("query", "answer"),
    ("user", "assistant"),
    ("human", "assistant"),
    ("input", "output"),
    ("input", "response"),
)
INPUTS_TARGETS = (
    ("inputs_pretokenized", "targets_pretokenized"),
    ("inputs", "targets"),
    ("input", "target"),
    ("source", "target"),
)
SYSTEM_COLUMNS = ("system", "system_prompt", "system_message")


def lowered(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row by lower-case, stripped column names."""
    return {str(key).strip().lower(): value for key, value in row.items() if key is not None}


def pair(row: Mapping[str, Any], pairs: tuple[tuple[str, str], ...]) -> tuple[str, str] | None:
    """The first pair of columns that the row has both of."""
    return next(((first, second) for first, second in pairs if first in row and second in row), None)


def nested(value: Any) -> Any:
    """A list or object, also where a CSV cell or a Parquet string holds it as JSON; else the value itself."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return read_json(value)
        except ValueError:
            return value
    # pyarrow gives lists; a pandas reader gives arrays.
    return value.tolist() if hasattr(value, "tolist") else value


def system_of(row: Mapping[str, Any]) -> str:
    """The system prompt of a row that keeps it in a column, or an empty text."""
    return next((row[name] for name in SYSTEM_COLUMNS if isinstance(row.get(name), str) and row[name].strip()), "")


def as_text(value: Any) -> str | None:
    """A cell as text: None stays None, numbers and booleans as JSON writes them, a list or object is none."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, list | dict):
        return None
    return json.dumps(value) if isinstance(value, bool) else str(value)
