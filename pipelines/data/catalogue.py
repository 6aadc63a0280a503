"""The notable instruction data sets: the chapter's ten and those in use today.

Facts are rows of `assets/datasets.json`; a value that its source does not state is null there. The rows
to try (`assets/datasets/samples/`) are our own, written in each set's real schema, so that detection and
conversion can be tried without a download and under no foreign licence.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipelines.errors import unknown

ASSETS = Path(__file__).resolve().parents[2] / "assets"


@dataclass(frozen=True, slots=True)
class DatasetEntry:
    """One data set.

    hub_id, config, split: what `datasets.load_dataset` takes for its training rows; None where it is not on the Hub
    chapter_size: the size as the chapter states it ("13K"), or None where it names no size
    count:        the exact number of `unit` in the published set, or None where no source states one
    made:         human, distilled, multi-task or mixed; `how` says it in a sentence
    checked:      when the count was read in the publisher's own card; empty where it was taken from the paper or from
                  what others report, and not read again
    licence:      as the publisher states it, or None where none is stated
    format:       what our own sample rows, and so the real ones, are detected as
    """

    key: str
    title: str
    chapter_size: str | None
    count: int | None
    unit: str
    maker: str
    year: int
    made: str
    how: str
    licence: str | None
    languages: str
    format: str
    columns: tuple[str, ...]
    hub_id: str | None
    config: str | None
    split: str | None
    source: str
    note: str
    chapter: bool
    checked: str = ""

    @property
    def load_arguments(self) -> str:
        """The arguments of `load_dataset` as Python writes them, or an empty text."""
        if self.hub_id is None:
            return ""
        names = [json.dumps(name) for name in (self.hub_id, self.config) if name]
        return ", ".join([*names, f'split="{self.split}"'])

    @property
    def size(self) -> int | None:
        """For the chart: the exact count, else the chapter's size as a number."""
        return self.count if self.count is not None else parse_size(self.chapter_size or "")


CHAPTER_KEYS = frozenset(
    "instructgpt lima dolly-15k oasst1 alpaca self-instruct magpie-300k ultrachat flan-v2 p3".split()
)


@lru_cache(maxsize=1)
def dataset_catalogue() -> tuple[DatasetEntry, ...]:
    """All entries, the chapter's first and in its order."""
    rows = json.loads((ASSETS / "datasets.json").read_text(encoding="utf-8"))
    return tuple(
        DatasetEntry(**{**row, "columns": tuple(row["columns"])}, chapter=row["key"] in CHAPTER_KEYS) for row in rows
    )


def get_dataset(key: str) -> DatasetEntry:
    """The entry of that key. Raises InputError that offers the nearest key."""
    entries = {entry.key: entry for entry in dataset_catalogue()}
    if key not in entries:
        raise unknown(key, entries, "source")
    return entries[key]


def sample_path(key: str) -> Path:
    """The file with our rows in the schema of that data set."""
    return ASSETS / "datasets" / "samples" / f"{get_dataset(key).key}.jsonl"


def sample_rows(key: str) -> list[dict[str, Any]]:
    """Our rows in the schema of that data set."""
    return [json.loads(line) for line in sample_path(key).read_text(encoding="utf-8").splitlines()]


def search(query: str) -> tuple[DatasetEntry, ...]:
    """The entries that contain every word of the query, in any of their facts."""
    words = query.casefold().split()
    return tuple(entry for entry in dataset_catalogue() if all(word in _haystack(entry) for word in words))


def parse_size(text: str) -> int | None:
    """'13K' → 13000, '15M+' → 15000000, '161K messages' → 161000; None without a number."""
    number = text.split(" ")[0].rstrip("+")
    factor = {"K": 1_000, "M": 1_000_000}.get(number[-1:], 1)
    digits = number.rstrip("KM")
    try:
        return round(float(digits) * factor)
    except ValueError:
        return None


def _haystack(entry: DatasetEntry) -> str:
    return " ".join(
        str(part)
        for part in (
            entry.key, entry.title, entry.maker, entry.year, entry.made, entry.how, entry.licence or "not stated",
            entry.languages, entry.format, entry.hub_id or "", " ".join(entry.columns), entry.note,
        )
    ).casefold()  # fmt: skip
