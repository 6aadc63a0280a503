"""What a person takes home: conversations as JSON lines and Parquet, problems as CSV, a data card, a script."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pipelines.data.records import INFO, Problem
from pipelines.tables import csv_text, plain_markdown

_BATCH = 1_000


def write_parquet(lines: Path, output: Path) -> int:
    """Write conversations as Parquet: `messages`, a list of role and content, and where needed two columns of JSON
    text, `tool_calls` (one entry per message) and `extra` (everything else). Returns how many.

    Further keys differ from row to row, which Parquet's fixed types cannot hold; as JSON text nothing is lost.
    """
    import pyarrow
    import pyarrow.parquet

    text = pyarrow.string()
    turn = pyarrow.struct([("role", text), ("content", text)])
    schema = pyarrow.schema([("messages", pyarrow.list_(turn)), ("tool_calls", pyarrow.list_(text)), ("extra", text)])
    written = 0
    with lines.open(encoding="utf-8") as source, pyarrow.parquet.ParquetWriter(output, schema) as writer:
        while batch := [_parquet_row(json.loads(line)) for line in islice(source, _BATCH)]:
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))
            written += len(batch)
    return written


def _parquet_row(row: dict[str, Any]) -> dict[str, Any]:
    messages = row.pop("messages")
    calls = [json.dumps(turn["tool_calls"]) if turn.get("tool_calls") else None for turn in messages]
    further = [{key: value for key, value in turn.items() if key not in _PLAIN} for turn in messages]
    extra = {**row, **({"turns": further} if any(further) else {})}
    return {
        "messages": [{"role": turn["role"], "content": turn["content"]} for turn in messages],
        "tool_calls": calls if any(calls) else None,
        "extra": json.dumps(extra, ensure_ascii=False) if extra else None,
    }


_PLAIN = frozenset(("role", "content", "tool_calls"))


def problems_csv(problems: Iterable[Problem]) -> str:
    """The problems as CSV for a spreadsheet: row, kind, what, advice."""
    rows = ((problem.row, INFO[problem.kind].title, problem.what, problem.advice) for problem in problems)
    return csv_text(("row", "kind", "what", "advice"), rows)


def data_card(
    name: str,
    format: str,
    rows: int,
    kept: int,
    dropped: Mapping[str, int],
    facts: Sequence[tuple[str, str]],
    licence: str | None = None,
) -> str:
    """A data card for the Hub, Markdown with a YAML head.

    name:    of the source; dropped: conversations by reason; facts: further (name, value) rows of the table
    licence: of the source as its publisher states it, or None
    """
    size = next((label for limit, label in _SIZES if kept < limit), "n>1T")
    table = "\n".join(f"| {plain_markdown(title)} | {plain_markdown(value)} |" for title, value in facts)
    lines = (f"| {plain_markdown(title)} | {count:,} |" for title, count in dropped.items())
    reasons = "\n".join(lines) or "| nothing | 0 |"
    return f"""---
pretty_name: {json.dumps(f"{name}, cleaned", ensure_ascii=False)}
task_categories:
- text-generation
size_categories:
- {size}
configs:
- config_name: default
  data_files:
  - split: train
    path: cleaned.jsonl
---

# {plain_markdown(name)}, cleaned

{kept:,} conversations in the `messages` format, out of {rows:,} rows in the format `{format}`.

| | |
| --- | --- |
{table}
| Licence of the source | {plain_markdown(licence or "not stated; look before you publish")} |

## What was dropped

A conversation can have more than one reason.

| Reason | Conversations |
| --- | --- |
{reasons}

## Use

```python
from datasets import load_dataset

dataset = load_dataset("json", data_files="cleaned.jsonl", split="train")
```
"""


_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
