"""What `/dataset` answers: a data set inspected, kept under a key, and described as JSON."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.data import store
from pipelines.data.cleaning import first_conversations
from pipelines.data.inspection import Checks, Inspection, inspect
from pipelines.data.lesson import DIRECTORY, heldout_questions
from pipelines.data.overlap import EvaluationSet
from pipelines.data.records import INFO
from pipelines.data.sources import Source, open_source, open_upload
from pipelines.data.tokens import Measure
from pipelines.errors import InputError
from pipelines.settings import Settings

MAX_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class Opened:
    """A data set that was inspected and kept. `path`: its conversations as JSON lines; the rest: see `Source`."""

    inspection: Inspection
    path: Path
    sample: bool
    origin: str = ""
    file: str = ""
    licence: str | None = None


def open_dataset(
    settings: Settings,
    source: str = "",
    file: Any = None,
    split: str = "train",
    measure: Measure | None = None,
    progress: Callable[[int], None] | None = None,
) -> Opened:
    """Inspect the data set that `source` or `file` names and keep its conversations.

    progress hears how many rows were read.
    Raises InputError when neither or both are given, or when it cannot be read.
    """
    if bool(source.strip()) == bool(file):
        what = "both a source and a file" if file else "neither a source nor a file"
        raise InputError(what, "source", "Name a data set of the catalogue, give a Hub id, or upload a file.")
    name = source.strip()
    if name == "lesson":
        return _shared_lesson(settings, split, measure)
    return _open(
        settings, open_upload(file) if file else open_source(name, split, settings.data_dir), split, measure, progress
    )


# Everybody who comes looks at the lesson first: it is inspected once. Keyed by the file's state, so that a lesson
# made anew is seen, and by where conversations are kept.
_lessons: dict[tuple[Any, ...], Opened] = {}
_lessons_lock = threading.Lock()


def _shared_lesson(settings: Settings, split: str, measure: Measure | None) -> Opened:
    opened = open_source("lesson", split)
    stamp = (DIRECTORY / opened.file).stat().st_mtime_ns
    key = (settings.runs_dir.resolve(), split, stamp, measure and (measure.max_length, measure.name))
    with _lessons_lock:
        known = _lessons.get(key)
        if known is None or not known.path.is_file():
            known = _lessons[key] = _open(settings, opened, split, measure)
    return known


def _open(
    settings: Settings,
    opened: Source,
    split: str,
    measure: Measure | None = None,
    progress: Callable[[int], None] | None = None,
) -> Opened:
    # The held-out questions themselves would all be found to overlap with themselves.
    own = opened.key == "lesson" and split == "heldout"
    checks = Checks(measure or Measure(), EvaluationSet(() if own else _evaluation()))
    with store.workspace(settings.runs_dir) as folder:
        lines = folder / "messages.jsonl"
        inspection = inspect(opened.rows, opened.title, lines, checks, progress)
        kept = store.keep(settings.runs_dir, lines, _facts(inspection, opened))
    key = opened.key if opened.key and split == "train" else kept.key
    return Opened(replace(inspection, key=key), kept.path, opened.sample, opened.origin, opened.file, opened.licence)


def dataset_record(
    settings: Settings,
    source: str = "",
    file: Any = None,
    split: str = "train",
    limit: int = 200,
    measure: Measure | None = None,
) -> dict[str, Any]:
    """`{key, format, rows, messages, problems, stats}` of a data set.

    rows:     the first `limit` rows as they are in the source
    messages: the first `limit` conversations, each a list of {role, content}
    problems: `{row, what, advice}`, at most inspection.MAX_PROBLEMS; `stats.problems` counts them all
    Raises InputError.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit <= MAX_LIMIT:
        raise InputError(f"{limit!r} is not a number of rows", "limit", f"Use a whole number from 0 to {MAX_LIMIT}.")
    opened = open_dataset(settings, source, file, split, measure)
    found = opened.inspection
    return {
        "key": found.key,
        "format": found.format,
        "rows": list(found.shown[:limit]),
        "messages": first_conversations(opened.path, limit),
        "problems": [
            {"row": problem.row, "what": problem.what, "advice": problem.advice} for problem in found.problems
        ],
        "stats": stats_record(opened),
    }


def stats_record(opened: Opened) -> dict[str, Any]:
    """The statistics as JSON. Lengths are in `unit`; `problems` counts rows by kind; `sample` as in `Source`."""
    found, stats = opened.inspection, opened.inspection.stats
    return {
        "rows": stats.rows,
        "conversations": stats.conversations,
        "unread": len(found.unread),
        "messages": stats.messages,
        "unit": stats.unit,
        "total": stats.total,
        "mean": round(stats.mean, 1),
        "median": stats.median,
        "p95": stats.p95,
        "longest": stats.longest,
        "histogram": {"edges": list(stats.histogram.edges), "counts": list(stats.histogram.counts)},
        "turns": {str(turns): count for turns, count in stats.turns.items()},
        "roles": dict(stats.roles),
        "problems": {INFO[kind].title: count for kind, count in found.counts.items()},
        "estimated": found.estimated,
        "sample": opened.sample,
    }


def _facts(inspection: Inspection, opened: Source) -> dict[str, Any]:
    return {"name": inspection.name, "format": inspection.format, "conversations": inspection.stats.conversations}


def _evaluation() -> tuple[str, ...]:
    try:
        return heldout_questions()
    except InputError:
        return ()  # a studio without the lesson data has no evaluation set to protect
