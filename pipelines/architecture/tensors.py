"""Read single tensors of a model folder without torch: a safetensors file is a header and bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEADER_LIMIT = 100_000_000  # bytes; safetensors' own limit
_DTYPES = {"F32": "<f4", "F16": "<f2", "F64": "<f8"}


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where a tensor's bytes are: file, first and last byte (exclusive), dtype as the header names it.

    modified: of the file, nanoseconds; what was computed from an earlier version of it has another place
    """

    path: Path
    start: int
    end: int
    dtype: str
    shape: tuple[int, ...]
    modified: int


def tensors(folder: Path) -> Mapping[str, TensorPlace]:
    """Every tensor of the `*.safetensors` files in a folder, by name. Empty when there are none."""
    places: dict[str, TensorPlace] = {}
    for path in sorted(folder.glob("*.safetensors")):
        places |= _header(path, path.stat().st_mtime_ns)
    return places


def read_tensor(place: TensorPlace) -> NDArray[np.float32]:
    """The values as float32, in the tensor's shape. Raises ValueError for a dtype that is no float."""
    with place.path.open("rb") as file:
        file.seek(place.start)
        data = file.read(place.end - place.start)
    if place.dtype == "BF16":  # the upper half of a float32
        values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    elif place.dtype in _DTYPES:
        values = np.frombuffer(data, _DTYPES[place.dtype]).astype(np.float32)
    else:
        raise ValueError(f"{place.dtype} is not a floating point type")
    return values.reshape(place.shape)


@lru_cache(maxsize=16)
def _header(path: Path, modified: int) -> dict[str, TensorPlace]:
    """The header of one file; `modified` makes a rewritten file be read again."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _HEADER_LIMIT:
            raise ValueError(f"{path.name} is not a safetensors file")
        header: dict[str, Any] = json.loads(file.read(length))
    begin = 8 + length
    return {
        name: TensorPlace(
            path,
            begin + entry["data_offsets"][0],
            begin + entry["data_offsets"][1],
            entry["dtype"],
            tuple(entry["shape"]),
            modified,
        )
        for name, entry in header.items()
        if name != "__metadata__"
    }
