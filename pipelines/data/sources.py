"""Where rows come from: the lesson, the catalogue's samples, a file of `--data-dir`, an upload, or the Hub.

A visitor never names a folder of this machine: files come from the upload cache or by name from `--data-dir`,
and a name with two parts is a Hub id even where a folder of that name exists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.data.catalogue import dataset_catalogue, get_dataset, sample_path
from pipelines.data.lesson import DIRECTORY, SPLITS
from pipelines.data.reading import read_rows
from pipelines.data.records import RawRow
from pipelines.errors import InputError, unknown

HUB_ROWS = 2_000
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}")
_SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".txt")


@dataclass(frozen=True, slots=True)
class Source:
    """Rows to be read once.

    key:     the name that stays valid without the store, or empty
    sample:  whether the rows are ours in the schema of the data set, and not the data set itself
    origin, file: how `script.cleaning_script` loads the same rows; origin is empty where it cannot
    licence: of the data set, as its publisher states it, or None
    """

    key: str
    title: str
    rows: Iterator[RawRow]
    sample: bool = False
    origin: str = ""
    file: str = ""
    licence: str | None = None


def open_source(source: str, split: str = "train", data_dir: Path | None = None) -> Source:
    """Rows by name. Raises InputError for a name nobody knows."""
    name = source.strip()
    if name == "lesson":
        if split not in SPLITS:
            raise unknown(split, SPLITS, "split")
        file = f"{split}.jsonl"
        return Source(name, f"the lesson's {split} rows", read_rows(DIRECTORY / file), origin="json", file=file)
    if name in {entry.key for entry in dataset_catalogue()}:
        entry = get_dataset(name)
        arguments = entry.load_arguments
        rows = read_rows(sample_path(name))
        return Source(name, entry.title, rows, True, "hub" if arguments else "", arguments, entry.licence)
    files = local_files(data_dir)
    if name in files:
        return Source("", name, read_rows(files[name], name), origin=_origin(files[name], name), file=name)
    if is_hub_id(name):
        return Source("", name, hub_rows(name, split), origin="hub", file=f'"{name}", split={json.dumps(split)}')
    raise unknown(name, ["lesson", *(entry.key for entry in dataset_catalogue()), *files], "source")


def open_upload(file: Any) -> Source:
    """Rows of an upload as the interface hands it over: a mapping with `path`, the place in the upload cache.

    Raises InputError for anything else, so that a path typed by a visitor is never opened. That the path lies in
    the upload cache is for the interface to see to, which made it.
    """
    if isinstance(file, str):
        raise InputError("a path was given", "file", "Upload the file: in a client, file=handle_file('rows.jsonl').")
    path = file.get("path") if isinstance(file, Mapping) else None
    if not isinstance(path, str) or not Path(path).is_file():
        raise InputError("no uploaded file", "file", "Upload the file: in a client, file=handle_file('rows.jsonl').")
    name = str(file.get("orig_name") or Path(path).name)
    return Source("", name, read_rows(Path(path), name), origin=_origin(Path(path), name), file=name)


def _origin(path: Path, name: str) -> str:
    """Which loader of `datasets` reads the same rows in the same order, or an empty text."""
    with path.open("rb") as file:
        head = file.read(65_536)
    if head[:4] == b"PAR1":
        return "parquet"
    first, suffix = head.partition(b"\n")[0], Path(name).suffix.lower()
    if suffix in (".jsonl", ".ndjson") or (suffix == ".json" and head.lstrip()[:1] == b"["):
        return "json"
    is_csv = suffix == ".csv" and first.count(b",") >= max(map(first.count, (b"\t", b";", b"|")))
    return "csv" if is_csv else ""


def local_files(data_dir: Path | None) -> dict[str, Path]:
    """The data files of `--data-dir`, not of its sub-directories, by name; links out of it are left out."""
    if data_dir is None:
        return {}
    root = data_dir.resolve()
    return {
        path.name: path
        for path in sorted(root.iterdir())
        if path.suffix.lower() in _SUFFIXES and path.is_file() and path.resolve().parent == root
    }


def is_hub_id(name: str) -> bool:
    """Whether a name has the form owner/name."""
    return bool(_HUB_ID.fullmatch(name)) and ".." not in name


def hub_rows(name: str, split: str = "train") -> Iterator[RawRow]:
    """The first HUB_ROWS rows of a public data set of the Hub, streamed.

    Raises InputError when the Hub cannot be reached, knows no such data set, or has no such split.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise InputError(
            f"'{name}' is on the Hub, and this studio runs without it",
            "source",
            "Choose a data set of the catalogue for rows in its schema, or upload a file.",
        )
    # A folder of that name would be read in place of the Hub.
    if Path(name).exists():
        raise InputError(f"'{name}' cannot be looked up on the Hub", "source", "Choose another data set.")
    from datasets import load_dataset

    try:
        # Only what anybody may read: the token of whoever runs the studio is not its visitors'.
        rows = iter(load_dataset(name, split=split, streaming=True, token=False).take(HUB_ROWS))
        first = next(rows, None)
    except Exception as error:  # the library and its transports raise dozens of kinds
        detail = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise InputError(
            f"'{name}' (split '{split[:40]}') could not be read from the Hub: {detail}",
            "source",
            "Check the name, the split and the connection.",
        ) from error
    return _numbered(first, rows)


def _numbered(first: Any, rows: Iterator[Any]) -> Iterator[RawRow]:
    if first is None:
        return
    yield RawRow(1, first)
    for number, row in enumerate(rows, start=2):
        yield RawRow(number, row)
