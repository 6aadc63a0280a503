"""How low the rank of a real weight change is: the difference between two models, one fine-tuned in full
from the other.

LoRA assumes that the change ΔW of fine-tuning has a low "intrinsic rank" (Hu et al. 2021, section 4.1). Here
ΔW is
there to look at: its singular values, and how much of it its first r directions keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.architecture.tensors import TensorPlace, read_tensor, tensors


@dataclass(frozen=True, slots=True)
class WeightChange:
    """ΔW of one matrix.

    name: of the weight; shape: out × in
    relative: norm of ΔW over norm of W (Frobenius)
    kept: kept[r] is the share of ΔW's squared norm in its first r directions; kept[0] = 0, the last is 1
    base_kept: the same for W itself, whose directions are spread
    effective_rank: exp of the entropy of the singular values' shares (Roy & Vetterli 2007), between 1 and
        full rank
    """

    name: str
    shape: tuple[int, int]
    relative: float
    kept: tuple[float, ...]
    base_kept: tuple[float, ...]
    effective_rank: float

    def error(self, r: int) -> float:
        """What rebuilding ΔW from its first r directions loses, as a share of ΔW's norm (Eckart–Young)."""
        return float(np.sqrt(max(0.0, 1.0 - self.kept[min(r, len(self.kept) - 1)])))


def matrices(base: Path, tuned: Path) -> tuple[str, ...]:
    """Names of the matrices inside the layers that both folders have in the same shape."""
    before, after = tensors(base), tensors(tuned)
    return tuple(
        name
        for name, place in before.items()
        if len(place.shape) == 2 and ".layers." in name and name in after and after[name].shape == place.shape
    )


def weight_change(base: Path, tuned: Path, name: str) -> WeightChange:
    """ΔW of the matrix `name`. Raises KeyError when a folder lacks it."""
    return _change(tensors(base)[name], tensors(tuned)[name], name)


@lru_cache(maxsize=64)
def _change(before: TensorPlace, after: TensorPlace, name: str) -> WeightChange:
    old, new = read_tensor(before), read_tensor(after)
    delta = new - old
    squares = _squares(delta)
    shares = np.sqrt(squares) / np.sqrt(squares).sum() if squares.any() else np.ones_like(squares) / len(squares)
    present = shares[shares > 0]
    rows, columns = before.shape
    return WeightChange(
        name,
        (rows, columns),
        float(np.linalg.norm(delta) / np.linalg.norm(old)),
        _kept(squares),
        _kept(_squares(old)),
        float(np.exp(-(present * np.log(present)).sum())),
    )


def _squares(matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """Squared singular values, largest first: the eigenvalues of the smaller Gram matrix, which is far quicker."""
    wide = matrix.astype(np.float64)
    gram = wide @ wide.T if wide.shape[0] <= wide.shape[1] else wide.T @ wide
    return np.clip(np.linalg.eigvalsh(gram)[::-1], 0.0, None)


def _kept(squares: NDArray[np.float64]) -> tuple[float, ...]:
    total = squares.sum() or 1.0
    return (0.0, *(float(part) for part in np.cumsum(squares) / total))
