"""Rows of an uploaded file, one at a time: JSON, JSON lines, CSV or TSV, Parquet.

Memory stays bounded whatever the file holds: no more than a row, a batch of rows, or the wrapper of a JSON
object is held, and each has a limit. What a file is, is told by its content; its name only settles CSV
against TSV and plain text. A row that cannot be read is handed on with its fault, and reading goes on.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

from pipelines.data.json_rows import MAX_ROW_BYTES, is_lines, json_lines, json_list, lines
from pipelines.data.records import RawRow
from pipelines.errors import InputError

MAX_BYTES = 200 * 10**6
MAX_ROWS = 1_000_000
# Uncompressed bytes of the widest row group: it is decoded column by column, and compression hides its size.
MAX_ROW_GROUP_BYTES = 512 * 2**20
MAX_PARQUET_BYTES = 4 * 2**30
_COMPRESSED = {b"\x1f\x8b": "gzip", b"PK": "zip", b"BZ": "bzip2", b"\xfd7": "xz", b"(\xb5": "zstd", b"7z": "7-Zip"}


def read_rows(path: Path, name: str = "") -> Iterator[RawRow]:
    """The rows of the file, counted from 1. `name` is what its owner calls it.

    Raises InputError for a file that is too large, empty, compressed or of no known kind; for more than
    MAX_ROWS rows it does so when it reaches them.
    """
    name = name or path.name
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"'{name[:80]}' is empty", "file", "Upload a file with rows.")
    if size > MAX_BYTES:
        raise InputError(
            f"'{name[:80]}' has {size / 1e6:,.0f} MB",
            "file",
            f"At most {MAX_BYTES // 10**6} MB are read; upload a part.",
        )
    with path.open("rb") as file:
        head = file.read(4096)
        file.seek(0)
        yield from _limited(_reader(path, name, head, file), name)


def _limited(rows: Iterator[RawRow], name: str) -> Iterator[RawRow]:
    yield from islice(rows, MAX_ROWS)
    if next(rows, None) is not None:
        raise InputError(
            f"'{name[:80]}' has more than {MAX_ROWS:,} rows", "file", f"At most {MAX_ROWS:,} are read; upload a part."
        )


def _reader(path: Path, name: str, head: bytes, file: IO[bytes]) -> Iterator[RawRow]:
    kind = _COMPRESSED.get(head[:2])
    if kind:
        raise InputError(f"'{name[:80]}' is compressed ({kind})", "file", "Unpack it first.")
    if head[:4] == b"PAR1":
        return _parquet(path, name)
    text = _decoded(file, head)
    start = head.decode(text.encoding, errors="replace").lstrip("\ufeff \t\r\n")
    suffix = Path(name).suffix.lower()
    if start[:1] == "[" and suffix not in (".jsonl", ".ndjson", ".csv", ".tsv") and not is_lines(start):
        return json_list(text)
    if start[:1] in ("{", "[") or suffix in (".json", ".jsonl", ".ndjson"):
        return json_lines(text, name, only_lines=suffix in (".jsonl", ".ndjson"))
    if suffix == ".txt":
        return (RawRow(number, line.rstrip("\n")) for number, line in enumerate(lines(text), 1) if line.strip())
    if "\x00" in start:
        raise InputError(f"'{name[:80]}' is not a text file", "file", "Upload JSON, JSONL, CSV or Parquet.")
    return _csv(text, name, start)


def _decoded(file: IO[bytes], head: bytes) -> io.TextIOWrapper:
    """As text. Bytes that are not UTF-8 become U+FFFD, which the check of each row reports."""
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return io.TextIOWrapper(file, encoding=encoding, errors="replace", newline="")


def _csv(text: io.TextIOWrapper, name: str, start: str) -> Iterator[RawRow]:
    """Rows of a table whose first line names its columns; the delimiter is the one that line has most of."""
    csv.field_size_limit(MAX_ROW_BYTES)
    line = start.partition("\n")[0]
    delimiter = max("\t,;|", key=line.count)
    reader = csv.reader(text, delimiter=delimiter)
    names: list[str] = []
    number = 0
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            number += 1
            yield RawRow(number, None, f"The row is not CSV: {error}")
            continue
        if cells is None:
            break
        if not cells:
            continue  # a blank line; one of empty cells is a row
        if not names:
            names = [cell.strip().lstrip("\ufeff") for cell in cells]
            continue
        number += 1
        if len(cells) > len(names):
            yield RawRow(
                number, None, f"The row has {len(cells)} cells, the first line names {len(names)}; is a quote missing?"
            )
        else:
            # A short row lacks its last cells; an empty cell is a text, which the checks see.
            yield RawRow(number, dict(zip(names, cells, strict=False)))
    if number == 0 and names:
        # One line alone may be a table without rows, or a text that is no table at all.
        yield RawRow(1, None, f"The file '{name[:80]}' has only one line: {line[:80]}")


def _parquet(path: Path, name: str) -> Iterator[RawRow]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        groups = [file.metadata.row_group(place).total_byte_size for place in range(file.metadata.num_row_groups)]
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(
            f"'{name[:80]}' is not Parquet that can be read",
            "file",
            "The end of the file may be missing; upload it again.",
        ) from error
    if max(groups, default=0) > MAX_ROW_GROUP_BYTES or sum(groups) > MAX_PARQUET_BYTES:
        raise InputError(
            f"'{name[:80]}' unpacks to {sum(groups) / 2**30:,.1f} GiB",
            "file",
            f"At most {MAX_PARQUET_BYTES // 2**30} GiB in row groups of {MAX_ROW_GROUP_BYTES // 2**20} MiB are read.",
        )
    number = 0
    try:
        for batch in file.iter_batches(batch_size=256):
            for row in batch.to_pylist():
                number += 1
                yield RawRow(number, row)
    except (pyarrow.ArrowException, OSError, ValueError):
        yield RawRow(number + 1, None, "The file breaks off here")
