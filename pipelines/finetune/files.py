"""Files that several processes read and write at once, and of which a kill or a full disk leaves no half."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """One process at a time, of this machine or of others that see the same disk; a dead one keeps nobody waiting."""
    with path.open("ab") as file:
        with contextlib.suppress(ImportError, OSError):  # a disk that knows no locks: two studios there are rare enough
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def link(source: str, target: str) -> None:
    """A second name for a file; a copy where the disk knows no such thing. For `shutil.copytree`."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text`, so that a reader sees the old text or the new one, never a part."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Add one JSON line in a single write, which other writers cannot tear apart.

    A line that a killed writer left half is first ended: it must not swallow this one. Raises OSError where the disk
    is full, also where a part of the line still fitted on it.
    """
    line = json.dumps(value, ensure_ascii=False) + "\n"
    with path.open("ab+", buffering=0) as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = "\n" + line
        written = line.encode()
        if file.write(written) != len(written):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file of lines; half-written lines are passed over, a missing file is empty."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    for line in content.split(b"\n"):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value
