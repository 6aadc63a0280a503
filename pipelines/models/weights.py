"""What the headers of safetensors files say: parameters and bytes, without reading a weight.

The format (https://huggingface.co/docs/safetensors): eight bytes little-endian length, then that much JSON,
from tensor name to `{dtype, shape, data_offsets}`. Pickled weights are never read: unpickling runs code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import InputError

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
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
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
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > _MAX_HEADER:
                raise ValueError("header too long")
            header = json.loads(stream.read(length))
    except (OSError, ValueError) as error:
        raise InputError(f"{file.name} is not a safetensors file", where, "Download it again.") from error
    header.pop("__metadata__", None)
    return header
