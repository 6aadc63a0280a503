"""NF4 up close: a real layer's values, the sixteen levels, and what each 4-bit type loses on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np
from numpy.typing import NDArray

from pipelines.architecture.tensors import TensorPlace, read_tensor
from pipelines.memory.quantization import BLOCK, NESTED_BLOCK, fp4_levels, int4_levels, nf4_levels

BINS = 81
TYPES = {"nf4": nf4_levels, "fp4": fp4_levels, "int4": int4_levels}


@dataclass(frozen=True, slots=True)
class FourBitType:
    """What one 4-bit type does to a layer. `relative`: norm of the error over norm of the weights; `used`: levels."""

    name: str
    levels: tuple[float, ...]
    relative: float
    used: int


@dataclass(frozen=True, slots=True)
class LayerCloseUp:
    """One weight, cut into blocks of 64 and each divided by its absmax, as all three types see it.

    histogram: share of the values in each of BINS equal steps from −1 to 1
    absmax: smallest, median and largest of the blocks' largest magnitudes
    plain_bytes, double_bytes: of the blocks' constants, without and with double quantization (tables left out)
    """

    shape: tuple[int, ...]
    blocks: int
    histogram: tuple[float, ...]
    absmax: tuple[float, float, float]
    types: tuple[FourBitType, ...]
    plain_bytes: int
    double_bytes: int


@lru_cache(maxsize=32)
def close_up(place: TensorPlace) -> LayerCloseUp:
    """Quantize one weight of a model folder in each type, and measure. Milliseconds for a small layer."""
    values = read_tensor(place)
    normalised, absmax = blocks(values)
    counts, _ = np.histogram(normalised, bins=BINS, range=(-1.0, 1.0))
    types = []
    for name, table in TYPES.items():
        levels = np.array(table(), dtype=np.float32)
        nearest = nearest_level(normalised, levels)
        error = (levels[nearest] - normalised) * absmax[:, None]
        relative = float(np.linalg.norm(error) / np.linalg.norm(values))
        types.append(FourBitType(name, tuple(float(level) for level in levels), relative, len(np.unique(nearest))))
    return LayerCloseUp(
        place.shape,
        len(absmax),
        tuple(float(count) / normalised.size for count in counts),
        (float(absmax.min()), float(np.median(absmax)), float(absmax.max())),
        tuple(types),
        4 * len(absmax),
        len(absmax) + 4 * ceil(len(absmax) / NESTED_BLOCK),
    )


def blocks(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(blocks × 64 values divided by the block's absmax, absmax of each block); the last block is filled with zeros."""
    flat = values.reshape(-1)
    missing = -len(flat) % BLOCK
    cut = np.pad(flat, (0, missing)).reshape(-1, BLOCK)
    absmax = np.abs(cut).max(axis=1)
    return cut / np.where(absmax == 0, 1.0, absmax)[:, None], absmax


def nearest_level(values: NDArray[np.float32], levels: NDArray[np.float32]) -> NDArray[np.intp]:
    """Index of the level nearest to each value; `levels` ascend."""
    return np.searchsorted((levels[1:] + levels[:-1]) / 2, values)
