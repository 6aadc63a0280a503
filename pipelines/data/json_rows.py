"""Rows of JSON text: a value per line, one list, a wrapper around a list, or columns side by side."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

from pipelines.data.records import RawRow
from pipelines.errors import InputError
from pipelines.untrusted_json import read_json

MAX_ROW_BYTES = 4 * 2**20
# A JSON object that wraps its rows ({"data": […]}) is parsed whole, at several times its size in memory.
MAX_WRAPPER_BYTES = 32 * 2**20
_CHUNK = 1 << 16
# Stands for a line that was not kept; compared by identity, so that no file can hold it.
_TOO_LONG = "\x00too long"
_TOO_LONG_FAULT = f"The row is longer than {MAX_ROW_BYTES // 2**20} MB"
_WRAPPERS = ("data", "train", "rows", "examples", "instances", "items", "conversations", "records", "samples")
# Where reading may go on after a broken item of a list.
_NEXT_ITEM = re.compile(r"[}\]]\s*,\s*(?=[{\[])")
_HALF = re.compile("[\\ud800-\\udfff]")
_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def decode(text: str) -> Any:
    """The value of JSON text. NaN, which is no JSON, becomes null; half a character, which no file can hold, U+FFFD.

    Raises ValueError, or RecursionError for a value that is nested too deeply.
    """
    return _whole(text, json.loads(text, parse_constant=_nothing))


def _nothing(_: str) -> None:
    return None


def _whole(text: str, value: Any) -> Any:
    if not _ESCAPED_HALF.search(text):
        return value
    # A pair of halves is one character by now, and stays.
    return json.loads(_HALF.sub("\ufffd", json.dumps(value, ensure_ascii=False)))


def lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Lines of at most MAX_ROW_BYTES characters; a longer one comes as `_TOO_LONG`."""
    while line := text.readline(MAX_ROW_BYTES + 1):
        if len(line) > MAX_ROW_BYTES and not line.endswith("\n"):
            while rest := text.readline(_CHUNK):
                if rest.endswith("\n"):
                    break
            line = _TOO_LONG
        yield line


def is_lines(start: str) -> bool:
    """Whether text that begins with a bracket is a list per line, and not one list of all rows."""
    first, newline, rest = start.partition("\n")
    if not newline or not rest.lstrip().startswith("["):
        return False
    try:
        return isinstance(read_json(first), list)
    except ValueError:
        return False


def json_lines(text: io.TextIOWrapper, name: str, only_lines: bool) -> Iterator[RawRow]:
    """One value per line; or, where the first line is no value by itself, one object over all lines."""
    number = 0
    reader = lines(text)
    first = next((line for line in reader if line.strip()), "")
    try:
        value = decode(first.rstrip())
    except (ValueError, RecursionError) as error:
        if not only_lines and first is not _TOO_LONG and first.lstrip()[:1] == "{" and _open(first):
            yield from _json_object(first, text, name)
            return
        yield RawRow(1, None, _TOO_LONG_FAULT if first is _TOO_LONG else _json_fault(error))
        number = 1
    else:
        second = next((line for line in reader if line.strip()), None)
        if second is None:
            yield from _unwrapped(value)
            return
        yield RawRow(1, value)
        yield _json_row(2, second)
        number = 2
    for line in reader:
        if line.strip():
            number += 1
            yield _json_row(number, line)


def _open(line: str) -> bool:
    """Whether a line only begins an object: it closes fewer braces than it opens."""
    return line.count("{") + line.count("[") > line.count("}") + line.count("]")


def _json_row(number: int, line: str) -> RawRow:
    if line is _TOO_LONG:
        return RawRow(number, None, _TOO_LONG_FAULT)
    try:
        return RawRow(number, decode(line.rstrip()))
    except (ValueError, RecursionError) as error:
        return RawRow(number, None, _json_fault(error))


def _json_fault(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"The line is not JSON: {error.msg.lower()} at character {error.pos + 1}"
    return "The line is not JSON that can be read"


def _json_object(first: str, text: io.TextIOWrapper, name: str) -> Iterator[RawRow]:
    whole = first + text.read(MAX_WRAPPER_BYTES)
    if text.read(1):
        raise InputError(
            f"'{name[:80]}' is one JSON object of more than {MAX_WRAPPER_BYTES // 2**20} MB",
            "file",
            "Write one object per line (JSONL), or a list.",
        )
    try:
        yield from _unwrapped(decode(whole))
        return
    except json.JSONDecodeError as error:
        fault = f"The file is not JSON: {error.msg.lower()} in line {error.lineno}, column {error.colno}"
        # Pretty-printed objects one after the other are not JSON, but common and unambiguous.
        values, rest = _several(whole)
    except (ValueError, RecursionError):
        fault, values, rest = "The JSON is nested too deeply, or has a number that is too long", [], ""
    for number, value in enumerate(values, start=1):
        yield RawRow(number, value)
    if rest or not values:
        yield RawRow(len(values) + 1, None, fault)


def _several(whole: str) -> tuple[list[Any], str]:
    decoder, position = json.JSONDecoder(), 0
    values: list[Any] = []
    while position < len(whole):
        rest = whole[position:].lstrip(" \t\r\n,")
        if not rest:
            return values, ""
        try:
            value, end = decoder.raw_decode(rest)
        except (ValueError, RecursionError):
            return values, rest
        values.append(value)
        position = len(whole) - len(rest) + end
    return values, ""


def _unwrapped(value: Any) -> Iterator[RawRow]:
    """The rows of one JSON value: a list's items, a wrapper's list, columns side by side, or the value itself."""
    rows = [value]
    if isinstance(value, list):
        rows = value
    elif isinstance(value, dict):
        for key in _WRAPPERS:
            inner = value.get(key)
            if isinstance(inner, list) and inner and all(isinstance(item, dict) for item in inner):
                if not ({"role", "from"} & set(inner[0]) or {"input", "output"} <= set(inner[0])):
                    rows = inner
                break
        else:
            rows = _from_columns(value) or rows
    for number, row in enumerate(rows, start=1):
        yield RawRow(number, row)


def _from_columns(value: dict[str, Any]) -> list[dict[str, Any]]:
    """pandas writes columns: {"prompt": {"0": …, "1": …}, …}."""
    columns = list(value.values())
    if len(columns) < 2 or not all(isinstance(column, dict) and column for column in columns):
        return []
    keys = list(columns[0])
    if not all(key.isdigit() for key in keys) or any(list(column) != keys for column in columns):
        return []
    return [{name: column[key] for name, column in value.items()} for key in keys]


def json_list(text: io.TextIOWrapper) -> Iterator[RawRow]:
    """The items of one top-level list, decoded one by one from a sliding window of the text.

    After an item that is broken, reading goes on at the next one that can be found.
    """
    decoder = json.JSONDecoder(parse_constant=_nothing)
    window = text.read(_CHUNK).lstrip("\ufeff \t\r\n")[1:]
    number, finished = 0, False
    while True:
        window = window.lstrip(" \t\r\n,")
        if window.startswith("]"):
            return
        try:
            value, end = decoder.raw_decode(window)
            # The digits of a number may go on in the next chunk.
            complete = isinstance(value, dict | list | str) or window[end:].lstrip()[:1] in (",", "]")
            fault = ""
        except RecursionError:
            yield RawRow(number + 1, None, "The JSON is nested too deeply")
            return
        except json.JSONDecodeError as error:
            complete, fault = False, f"{error.msg.lower()} at its character {error.pos + 1}"
        except ValueError:
            complete, fault = False, "a number is too long"
        if not complete and not finished and len(window) <= MAX_ROW_BYTES:
            # Growing by the window's own length keeps the retries of one long item linear in all.
            chunk = text.read(max(_CHUNK, len(window)))
            finished = not chunk
            window += chunk
            continue
        number += 1
        if not fault:
            yield RawRow(number, _whole(window[:end], value))
            window = window[end:]
            continue
        following = _NEXT_ITEM.search(window)
        if not window or following is None:
            yield RawRow(number, None, f"The list breaks off here: {fault}" if window else "The list is not closed")
            return
        yield RawRow(number, None, f"The item is not JSON: {fault}")
        window = window[following.end() :]
