"""What the headers of safetensors files say: parameters and bytes, without reading a weight.

The format (https://huggingface.co/docs/safetensors): eight bytes little-endian length, then that much JSON,
from tensor name to `{dtype, shape, data_offsets}`. Pickled weights are never read: unpickling runs code.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import InputError
from pipelines.untrusted_json import read_json

_AGAIN = "Copy or download it again."
_MAX_HEADER = 100_000_000  # the limit of the reference reader


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """parameters: elements of all tensors, what is stored twice counted twice; bytes: on disk."""

    parameters: int
    bytes: int


def stored_weights(folder: Path, where: str = "model") -> StoredWeights:
    """Count the tensors of a model folder. Raises InputError when there are none, or a shard is missing."""
    files = _shards(folder, where)
    parameters = size = 0
    for file in files:
        for tensor in _header(file, where).values():
            parameters += math.prod(tensor["shape"])
            begin, end = tensor["data_offsets"]
            size += end - begin
    return StoredWeights(parameters, size)


Shapes = dict[str, tuple[int, ...]]


def shapes_of(files: Iterable[Path], where: str = "model") -> Shapes:
    """The shape of every tensor in these files. Raises InputError for one that is not safetensors."""
    return {name: tuple(tensor["shape"]) for file in files for name, tensor in _header(file, where).items()}


def model_shapes(folder: Path, where: str = "model") -> Shapes:
    """The shape of every tensor of a model folder. Raises InputError as `stored_weights` does."""
    return shapes_of(_shards(folder, where), where)


Stamp = tuple[tuple[str, int, int], ...]


def stamp(folder: Path) -> Stamp:
    """Name, time of change and size of the weights: another stamp, another model."""
    found = ((file.name, file.stat()) for file in sorted(folder.glob("*.safetensors")))
    return tuple((name, state.st_mtime_ns, state.st_size) for name, state in found)


def is_complete(folder: Path) -> bool:
    """Whether a folder holds a configuration and all its safetensors."""
    try:
        return (folder / "config.json").is_file() and bool(_shards(folder, "model"))
    except InputError:
        return False


def _shards(folder: Path, where: str) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            names = sorted({str(name) for name in listed.values()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"'{folder.name}' has no index that can be read", where, _AGAIN) from error
    else:
        names = sorted(path.name for path in folder.glob("*.safetensors"))
        if any("-of-" in name for name in names):  # an interrupted download
            names = [index.name]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing or not names:
        what = f"{missing[0]} is missing" if missing else "has no safetensors weights"
        raise InputError(
            f"'{folder.name}' {what}",
            where,
            "Only complete safetensors folders are loaded; pickled weights never are.",
        )
    return [folder / name for name in names]


def _header(file: Path, where: str) -> dict[str, dict]:
    """Of one file that is all there. Raises InputError for one that is cut off, or something else."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > _MAX_HEADER:
                raise ValueError("header too long")
            header = read_json(stream.read(length))
            there = os.fstat(stream.fileno()).st_size
        header.pop("__metadata__", None)
        whole = 8 + length + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        if not all(isinstance(size, int) for tensor in header.values() for size in tensor["shape"]):
            raise ValueError("a shape that is none")
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(f"{file.name} is not a safetensors file", where, _AGAIN) from error
    if there != whole:
        raise InputError(f"{file.name} is damaged: it has {there:,} bytes and should have {whole:,}", where, _AGAIN)
    return header
