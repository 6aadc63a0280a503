"""Files row by row: what is told from content, what is refused, what a broken row says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.data import json_rows, reading
from pipelines.data.reading import read_rows
from pipelines.errors import InputError

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_it(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_it


def values(path: Path) -> list[Any]:
    return [row.value for row in read_rows(path)]


def faults(path: Path) -> dict[int, str]:
    return {row.number: row.fault for row in read_rows(path) if row.fault}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jsonl", b"", "'none.jsonl' is empty. Upload a file with rows."),
        ("rows.jsonl.gz", b"\x1f\x8b\x08\x00", "is compressed .gzip.. Unpack it first."),
        ("rows.zip", b"PK\x03\x04", "is compressed .zip."),
        ("photo.png", b"\x89PNG\r\n\x1a\n\x00\x00", "is not a text file. Upload JSON, JSONL, CSV or Parquet."),
        ("rows.parquet", b"PAR1 and nothing more", "is not Parquet that can be read"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(write: Write, name: str, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        values(write(name, content))


def test_a_file_over_the_limit_is_refused_before_it_is_read(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", 10)
    with pytest.raises(InputError, match="At most 0 MB are read"):
        values(write("rows.jsonl", '{"a": "b"}\n' * 3))


def test_more_rows_than_the_limit_are_an_error_that_says_the_limit(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_ROWS", 2)
    with pytest.raises(InputError, match=r"more than 2 rows.*At most 2 are read"):
        values(write("rows.jsonl", '{"a": "b"}\n' * 3))


def test_a_broken_line_is_a_row_with_a_fault_and_reading_goes_on(write: Write) -> None:
    path = write("rows.jsonl", '{"a": 1}\n{"a": \n\n{"a": 3}\n')
    assert [row.number for row in read_rows(path)] == [1, 2, 3]
    assert faults(path) == {2: "The line is not JSON: expecting value at character 6"}


def test_a_broken_item_of_a_list_is_a_row_with_a_fault_and_reading_goes_on(write: Write) -> None:
    path = write("rows.json", '[{"a": 1}, {"a": oops}, {"a": 3}]')
    assert values(path) == [{"a": 1}, None, {"a": 3}]
    assert list(faults(path)) == [2]


def test_a_list_that_is_not_closed_keeps_its_rows_and_says_so(write: Write) -> None:
    assert faults(write("rows.json", '[{"a": 1}, {"a": 2}')) == {3: "The list is not closed"}
    assert "breaks off" in faults(write("cut.json", '[{"a": 1}, {"a": "tw'))[2]


def test_a_row_longer_than_the_limit_is_left_out(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "MAX_ROW_BYTES", 50)
    path = write("rows.jsonl", '{"a": 1}\n' + json.dumps({"a": "x" * 200_000}) + '\n{"a": 3}\n')
    assert values(path) == [{"a": 1}, None, {"a": 3}]
    assert "longer than" in faults(path)[2]


def test_items_longer_than_the_window_are_read_whole(write: Write) -> None:
    rows = [{"a": "x" * 300_000}, {"a": "é" * 10}, {"a": 3}]
    assert values(write("rows.json", json.dumps(rows, ensure_ascii=False))) == rows


def test_numbers_at_the_edge_of_a_window_are_not_cut(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "_CHUNK", 4)
    assert values(write("rows.json", "[123456, 7890123, -1.5e10]")) == [123456, 7890123, -1.5e10]


@pytest.mark.parametrize("count", [2_000, 100_000])
def test_deep_nesting_is_a_fault_and_no_crash(write: Write, count: int) -> None:
    deep = "[" * count
    assert faults(write("deep.jsonl", '{"a": 1}\n' + deep + "\n"))
    assert faults(write("deep.json", deep))
    assert faults(write("deep.json", f"{deep}\n[1]\n"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_with_a_mark_are_known(write: Write, encoding: str) -> None:
    assert values(write("rows.jsonl", '{"a": "é"}\n{"a": "ü"}\n'.encode(encoding))) == [{"a": "é"}, {"a": "ü"}]


def test_bytes_that_are_no_utf8_become_the_character_that_says_so(write: Write) -> None:
    assert values(write("rows.csv", "prompt,completion\ncafé,oui\n".encode("latin-1")))[0]["prompt"] == "caf\ufffd"


def test_columns_as_pandas_writes_them_become_rows(write: Write) -> None:
    path = write("frame.json", json.dumps({"prompt": {"0": "a", "1": "b"}, "completion": {"0": "c", "1": "d"}}))
    assert values(path) == [{"prompt": "a", "completion": "c"}, {"prompt": "b", "completion": "d"}]


def test_a_row_of_too_many_cells_asks_for_the_quote(write: Write) -> None:
    path = write("rows.csv", "prompt,completion\na,b\nc,d,e\n")
    assert faults(path) == {2: "The row has 3 cells, the first line names 2; is a quote missing?"}


def test_empty_cells_are_a_row_and_a_blank_line_is_none(write: Write) -> None:
    assert len(values(write("rows.csv", "prompt,completion\n,\n\na,b\n"))) == 2


def test_parquet_is_read_in_batches(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"messages": [{"role": "user", "content": f"{number}?"}]} for number in range(600)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.bin")
    assert values(tmp_path / "rows.bin") == rows


def test_parquet_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    import pyarrow.parquet

    monkeypatch.setattr(reading, "MAX_ROW_GROUP_BYTES", 100)
    pyarrow.parquet.write_table(pyarrow.table({"text": ["x" * 1000] * 100}), tmp_path / "bomb.parquet")
    with pytest.raises(InputError, match="unpacks to"):
        values(tmp_path / "bomb.parquet")


def test_half_a_character_becomes_the_one_that_says_so_and_a_whole_one_stays(write: Write) -> None:
    rows = [{"a": "\ufffd"}, {"a": "🌍"}]
    assert values(write("rows.jsonl", '{"a": "\\ud800"}\n{"a": "\\ud83c\\udf0d"}\n')) == rows
    assert values(write("rows.json", '[{"a": "\\ud800"}, {"a": "\\ud83c\\udf0d"}]')) == rows


def test_what_is_no_json_number_is_nothing_or_a_fault(write: Write) -> None:
    assert values(write("rows.jsonl", '{"a": NaN}\n{"a": -Infinity}\n')) == [{"a": None}, {"a": None}]
    assert list(faults(write("long.jsonl", '{"a": 1}\n{"a": ' + "9" * 5000 + "}\n"))) == [2]
    assert list(faults(write("long.json", '[{"a": 1}, {"a": ' + "9" * 5000 + "}]"))) == [2]
