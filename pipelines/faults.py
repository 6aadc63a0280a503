"""Failures of the machine, told apart from faults of ours: too little memory, a full disk, one that is read only.

Libraries raise them in their own ways, most without an error of a class of its own. What is looked for was seen with
torch 2.13, safetensors 0.8 and huggingface_hub 2.4.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from pipelines.errors import InputError

# torch's allocator for the CPU raises a RuntimeError; on Linux and on Windows each in its own words.
_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "DefaultCPUAllocator")
# safetensors has an error that is no OSError; torch.save only finds that less was written than it gave.
_FULL = ("No space left on device", "os error 28", "Disk quota exceeded", "inline_container.cc")
_FULL_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
_CLOSED_NUMBERS = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST)

UNTOLD = 74  # exit status of a process whose last words did not fit on the disk (EX_IOERR of sysexits.h)
FULL = "the disk that keeps the runs is full"
MAKE_ROOM = "Whoever runs this studio can delete old runs, or other files on that disk."
FULL_SAID = f"{FULL[0].upper()}{FULL[1:]}. {MAKE_ROOM}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory did not suffice, of the machine or of its GPU."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in _MEMORY)


def is_disk_full(error: BaseException) -> bool:
    """Whether a write failed because nothing more fits on the disk, here or in what led to this error."""
    return any(
        getattr(one, "errno", None) in _FULL_NUMBERS or any(sign in str(one) for sign in _FULL) for one in causes(error)
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what led to it, the last first."""
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__ or at.__context__


def cannot_write(folder: Path) -> str:
    """Why nothing can be kept in `folder`, which need not exist yet, without a full stop; empty where it can."""
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return ""
    return f"nothing can be written into the directory of the runs, '{folder.name}'"


@contextlib.contextmanager
def writing(runs_dir: Path) -> Iterator[None]:
    """Raises InputError where the disk of the runs is full, or their directory cannot be written.

    Any other failure passes as it is.
    """
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise InputError(FULL, "disk", MAKE_ROOM) from error
        if error.errno in _CLOSED_NUMBERS and (why := cannot_write(runs_dir)):
            advice = "Runs need a directory that can be written: start the studio with another --runs-dir."
            raise InputError(why, "disk", advice) from error
        raise
