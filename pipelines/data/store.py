"""Where inspected data sets are kept, so that a key names them to a later run.

A key is `data-` and the start of a digest of the conversations, so the same data has the same key wherever and
however often it is read, and nobody can guess another visitor's. The least recently used are forgotten beyond
MAX_BYTES.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.data.catalogue import dataset_catalogue, sample_path
from pipelines.data.lesson import lesson_rows
from pipelines.errors import InputError, unknown
from pipelines.faults import FULL, MAKE_ROOM, cannot_write, is_disk_full
from pipelines.messages import Message, parse_messages

FOLDER = ".datasets"  # beside the runs, and no run itself
MAX_BYTES = 2 * 2**30
MAX_CONVERSATIONS = 200_000
_KEY = re.compile(r"data-[0-9a-f]{20}")


@dataclass(frozen=True, slots=True)
class Kept:
    """A data set in the store: its key, and the JSON lines of its conversations."""

    key: str
    path: Path


@contextmanager
def workspace(runs_dir: Path) -> Iterator[Path]:
    """A folder on the store's disk for the files of one inspection, gone afterwards unless kept.

    Raises InputError where that disk is full, also by what is written into the folder.
    """
    folder: Path | None = None
    try:
        folder = Path(tempfile.mkdtemp(prefix="incoming-", dir=_root(runs_dir)))
        yield folder
    except OSError as error:
        if is_disk_full(error):
            raise InputError(FULL, "data", MAKE_ROOM) from error
        raise
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def keep(runs_dir: Path, lines: Path, facts: dict[str, Any]) -> Kept:
    """Move a file of conversations into the store. `facts` (name, format, …) are for who looks at it later."""
    digest = hashlib.sha256()
    with lines.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    key = f"data-{digest.hexdigest()[:20]}"
    root = _root(runs_dir)
    (root / f"{key}.json").write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
    # The data comes last: a key without facts is usable, facts without data are not.
    os.replace(lines, root / f"{key}.jsonl")
    _forget(root, but=key)
    return Kept(key, root / f"{key}.jsonl")


def find(runs_dir: Path, key: str) -> Kept | None:
    """The data set of that key, or None. Marks it as used."""
    if not _KEY.fullmatch(key):
        return None
    path = _root(runs_dir) / f"{key}.jsonl"
    with suppress(OSError):
        os.utime(path)
        return Kept(key, path)
    return None


def facts(runs_dir: Path, key: str) -> dict[str, Any]:
    """What was noted when the data set was kept."""
    kept = find(runs_dir, key)
    path = kept.path.with_suffix(".json") if kept else None
    return json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else {}


def conversations(key: str, runs_dir: Path = Path("runs"), limit: int = MAX_CONVERSATIONS) -> list[tuple[Message, ...]]:
    """The conversations that a key names: `lesson`, a key of the catalogue (our sample rows), a key of the
    store, or a Hub id (its first rows). At most `limit`.

    Raises InputError for a key nobody knows, or that was forgotten.
    """
    from pipelines.data.sources import hub_rows, is_hub_id

    if key == "lesson":
        return [row.messages for row in lesson_rows("train")][:limit]
    if key in {entry.key for entry in dataset_catalogue()}:
        from pipelines.data.reading import read_rows

        return _converted(read_rows(sample_path(key)), limit)
    kept = find(runs_dir, key)
    if kept is not None:
        return list(_read(kept.path, limit))
    if is_hub_id(key):
        return _converted(hub_rows(key), limit)
    if _KEY.fullmatch(key):
        raise InputError(f"the data set '{key}' is no longer kept", "data", "Open it in the Data tab again.")
    raise unknown(key, ["lesson", *(entry.key for entry in dataset_catalogue())], "data")


def _read(path: Path, limit: int) -> Iterator[tuple[Message, ...]]:
    with path.open(encoding="utf-8") as lines:
        for _, line in zip(range(limit), lines, strict=False):
            yield parse_messages(json.loads(line)["messages"])


def _converted(rows: Any, limit: int) -> list[tuple[Message, ...]]:
    """Conversations of rows that are few enough to be held."""
    from pipelines.data.formats import convert, detect, from_trees
    from pipelines.data.records import Example

    rows = [row for row in rows if not row.fault]
    format = detect([row.value for row in rows]).format
    if format == "openassistant":
        return [item.messages for item in from_trees(rows) if isinstance(item, Example)][:limit]
    found = []
    for row in rows:
        with suppress(ValueError):
            found.append(convert(row.number, row.value, format).messages)
    return found[:limit]


def _root(runs_dir: Path) -> Path:
    """Beside the runs; where nothing can be written there, in a folder that goes with this process."""
    if cannot_write(runs_dir):
        return Path(_elsewhere().name)
    root = runs_dir / FOLDER
    root.mkdir(parents=True, exist_ok=True)
    return root


@cache
def _elsewhere() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="studio-data-sets-")


def _forget(root: Path, but: str) -> None:
    kept = sorted(root.glob("data-*.jsonl"), key=lambda path: path.stat().st_mtime, reverse=True)
    room = MAX_BYTES
    for path in kept:
        room -= path.stat().st_size
        if room < 0 and path.stem != but:
            for part in (path, path.with_suffix(".json")):
                part.unlink(missing_ok=True)
