"""One pass over a data set: format, conversion, every check, lengths. What it keeps per row is a few numbers.

Converted conversations are written to a JSON lines file as they come, so memory does not grow with their text;
problems are kept up to MAX_PROBLEMS, while flags and counts cover every row.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from pipelines.data.checks import check_row
from pipelines.data.duplicates import Duplicates
from pipelines.data.formats import FORMATS, convert, detect, from_trees
from pipelines.data.formats.detect import EXAMINED, Detected
from pipelines.data.overlap import EvaluationSet
from pipelines.data.records import Example, Kind, Problem, RawRow
from pipelines.data.stats import Stats, summarise
from pipelines.data.tokens import Lengths, Measure
from pipelines.errors import InputError
from pipelines.messages import as_dicts

MAX_PROBLEMS = 5_000
MAX_SHOWN_ROWS = 1_000
MAX_SHOWN_CHARACTERS = 4_000_000
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Checks:
    """What rows are checked against."""

    measure: Measure = field(default_factory=Measure)
    evaluation: EvaluationSet = field(default_factory=EvaluationSet)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found out about a data set.

    key:       its name in the store; empty until it is kept there
    name:      what its owner calls it
    shown:     the first raw rows, at most MAX_SHOWN_ROWS and about 4 MB of them
    problems:  the first MAX_PROBLEMS, by row
    counts:    rows with each kind of problem, all of them
    numbers, flags, lengths: per converted conversation, in the order of the file: the row it came from, its
               kinds of problem as bits, its length in `stats.unit`
    unread:    the rows that became no conversation
    estimated: conversations whose length was estimated
    limit:     the length, in `stats.unit`, beyond which a conversation is too long
    """

    key: str
    name: str
    format: str
    shown: tuple[Any, ...]
    problems: tuple[Problem, ...]
    counts: dict[Kind, int]
    numbers: array[int]
    flags: array[int]
    lengths: array[int]
    unread: array[int]
    stats: Stats
    estimated: int
    limit: int

    @property
    def more_problems(self) -> int:
        """Problems that were counted but not kept."""
        return max(0, sum(self.counts.values()) - len(self.problems))


def inspect(
    rows: Iterable[RawRow],
    name: str,
    output: Path,
    checks: Checks | None = None,
    progress: Callable[[int], None] | None = None,
) -> Inspection:
    """Read every row, check it, and write the conversations to `output` as `{"messages": […], …}` lines.

    `progress` hears how many rows were read. Raises InputError where the file cannot be read at all.
    """
    source = iter(rows)
    first = list(islice(source, EXAMINED))
    if not first:
        raise InputError(f"'{name[:80]}' has no rows", "file", "Upload a file with at least one row.")
    pass_ = _Pass(checks or Checks(), progress)
    detected = detect([row.value for row in first if not row.fault])
    with output.open("w", encoding="utf-8") as lines:
        pass_.run(pass_.counted(chain(first, source)), detected, lines)
    return pass_.result(name, detected)


class _Pass:
    """The state of one pass."""

    def __init__(self, checks: Checks, progress: Callable[[int], None] | None) -> None:
        self._checks, self._progress = checks, progress
        self._duplicates, self._lengths = Duplicates(), Lengths(checks.measure)
        self._problems: list[Problem] = []
        self._counts: Counter[Kind] = Counter()
        self._numbers, self._flags = array("I"), array("H")
        self._turns: Counter[int] = Counter()
        self._roles: Counter[str] = Counter()
        self._shown: list[Any] = []
        self._room = MAX_SHOWN_CHARACTERS
        self._rows, self._unread = 0, array("I")

    def counted(self, rows: Iterable[RawRow]) -> Iterator[RawRow]:
        """The rows, counted and the first of them kept, on their way to conversion."""
        for row in rows:
            self._rows += 1
            if not row.fault and len(self._shown) < MAX_SHOWN_ROWS and self._room > 0:
                # Parquet has dates and bytes, which JSON and so the page have not.
                text = json.dumps(row.value, ensure_ascii=False, default=str)
                self._shown.append(json.loads(text))
                self._room -= len(text)
            if self._progress and self._rows % 1000 == 0:
                self._progress(self._rows)
            yield row

    def run(self, rows: Iterator[RawRow], detected: Detected, lines: IO[str]) -> None:
        """Convert, check and write everything."""
        if detected.format == "unknown":
            self._unknown(rows, detected)
            return
        converted = from_trees(rows) if detected.format == "openassistant" else _converted(rows, detected.format)
        batch: list[Example] = []
        for item in converted:
            if isinstance(item, Problem):
                self._unread.append(item.row)
                self._report(item)
                continue
            batch.append(item)
            if len(batch) == _BATCH:
                self._take(batch, lines)
                batch = []
        self._take(batch, lines)
        self._near_duplicates()

    def result(self, name: str, detected: Detected) -> Inspection:
        """The findings, problems in row order."""
        lengths = self._lengths
        return Inspection(
            key="",
            name=name,
            format=detected.format,
            shown=tuple(self._shown),
            problems=tuple(sorted(self._problems, key=lambda problem: problem.row)[:MAX_PROBLEMS]),
            counts={kind: self._counts[kind] for kind in Kind if self._counts[kind]},
            numbers=self._numbers,
            flags=self._flags,
            lengths=lengths.values,
            unread=self._unread,
            stats=summarise(lengths.values, lengths.unit, self._turns, self._roles, self._rows),
            estimated=lengths.estimated,
            limit=lengths.limit,
        )

    def _unknown(self, rows: Iterator[RawRow], detected: Detected) -> None:
        fault = ""
        for row in rows:
            fault = fault or row.fault
            self._unread.append(row.number)
            if row.fault:
                self._report(Problem(row.number, Kind.UNREADABLE, row.fault, "Mend the file and upload it again."))
        if len(self._unread) == self._counts[Kind.UNREADABLE]:
            return
        known = "; ".join(title for format, title in FORMATS.items() if format not in ("unknown", "openassistant"))
        self._report(
            Problem(
                1,
                Kind.UNREADABLE,
                f"No known format: seen were {detected.seen}",
                f"Name the columns as one of these has them: {known}.",
            )
        )

    def _take(self, batch: list[Example], lines: IO[str]) -> None:
        for example, length in zip(batch, self._lengths.add([item.messages for item in batch]), strict=True):
            self._numbers.append(example.number)
            self._flags.append(0)
            for problem in self._problems_of(example, length):
                self._report(problem, len(self._flags) - 1)
            self._turns[len(example.messages)] += 1
            self._roles.update(message.role for message in example.messages)
            lines.write(line_of(example) + "\n")

    def _problems_of(self, example: Example, length: int) -> Iterator[Problem]:
        yield from check_row(example)
        number = example.number
        earlier = self._duplicates.add(len(self._flags) - 1, example.messages)
        if earlier is not None:
            of = self._numbers[earlier]
            yield Problem(number, Kind.EXACT_DUPLICATE, f"Says the same as row {of:,}", "Keep one of them.")
        if length > self._lengths.limit:
            yield Problem(
                number,
                Kind.TOO_LONG,
                f"{length:,} {self._lengths.unit}, more than {self._lengths.limit:,}",
                "Shorten it or raise the maximum length: training cuts the end, and with it the stop token.",
            )
        asked = self._checks.evaluation.match(example.messages)
        if asked:
            yield Problem(
                number,
                Kind.OVERLAP,
                f"The evaluation set asks this too: {asked[:80]!r}",
                "Drop it, or the evaluation measures memory.",
            )

    def _near_duplicates(self) -> None:
        for near in self._duplicates.near():
            of = self._numbers[near.of]
            share = f"About {100 * near.similarity:.0f} % of its word pairs" if near.similarity < 1 else "All its words"
            what = f"{share} are those of row {of:,}"
            self._report(Problem(self._numbers[near.row], Kind.NEAR_DUPLICATE, what, "Keep the better one."), near.row)

    def _report(self, problem: Problem, place: int | None = None) -> None:
        self._counts[problem.kind] += 1
        if place is not None:
            self._flags[place] |= problem.kind
        # Twice the number that is shown: near duplicates are found last and may belong to early rows.
        if len(self._problems) < 2 * MAX_PROBLEMS:
            self._problems.append(problem)


def line_of(example: Example) -> str:
    """A conversation as a line of JSON. Columns that trainers would take for another format are left out."""
    extra = {key: value for key, value in example.extra.items() if key not in RESERVED}
    return json.dumps({"messages": as_dicts(example.messages), **extra}, ensure_ascii=False, default=str)


# TRL tells formats by these column names: beside `messages` they would change what it trains on.
RESERVED = frozenset(("messages", "prompt", "completion", "completions", "text", "label", "input_ids", "labels"))


def _converted(rows: Iterable[RawRow], format: str) -> Iterator[Example | Problem]:
    for row in rows:
        if row.fault:
            yield Problem(row.number, Kind.UNREADABLE, row.fault, "Mend the row, or drop it.")
            continue
        try:
            yield convert(row.number, row.value, format)
        except ValueError as error:
            what = f"This row {error}"
            yield Problem(row.number, Kind.UNREADABLE, what, "Complete the row, or drop it.")
