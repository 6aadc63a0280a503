"""What a fine-tuned model still knows when its weight change is rebuilt from its first r directions.

W + ΔW becomes W + ΔW_r, with ΔW_r the nearest matrix of rank r (Eckart & Young 1936), in every matrix of the model, the
embeddings among them; norms, which are vectors, take their change whole. At full rank this is the tuned model
itself. The rebuilt model then answers held-out questions of the lesson, as a fine-tuning run does at its evaluations.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.architecture.tensors import read_tensor, tensors
from pipelines.errors import InputError
from pipelines.finetune.rows import HELDOUT_SEED, Row, collect

if TYPE_CHECKING:
    from pipelines.models import ModelManager

ROWS = 128  # held-out questions; a share of so many is uncertain by at most ± 9 points (95 %)
MAX_PARAMETERS = 200_000_000  # above, a point takes minutes on a CPU
MAX_NEW_TOKENS = 40


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """One rank, measured. `accuracy`, `stopped`: shares from 0 to 1 over `rows` questions; `seconds`: it took."""

    r: int
    accuracy: float
    stopped: float
    rows: int
    seconds: float


class Rebuilder:
    """Measures ranks of the running pair, each once; forgets them when the files of the pair are replaced."""

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager
        self._points: dict[int, Rebuilt] = {}
        self._read: object = None
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # one is measured at a time; who only looks does not wait for it

    def folders(self) -> tuple[Path, Path] | None:
        """Folders of base and instruct, when the pair lies on this machine."""
        pair = self._manager.pair
        base, instruct = pair.base.folder, pair.instruct.folder
        return (base, instruct) if base is not None and instruct is not None else None

    def full_rank(self) -> int:
        """The largest rank of a change; 0 without folders."""
        folders = self.folders()
        shapes = [place.shape for place in tensors(folders[1]).values()] if folders else []
        return max((min(shape) for shape in shapes if len(shape) == 2), default=0)

    def points(self) -> tuple[Rebuilt, ...]:
        """What was measured so far, by rank."""
        with self._lock:
            self._forget_replaced()
            return tuple(self._points[r] for r in sorted(self._points))

    def measure(self, r: int) -> Rebuilt:
        """The rebuilt model's accuracy at rank r, measured now unless it was before; seconds for the pocket pair.

        Raises InputError for a rank below 0, without local weights, or for a pair too large to measure while one waits.
        """
        folders = self.folders()
        if folders is None:
            raise InputError("the pair is not on this machine", "pair", "Start the studio with a local pair.")
        if r < 0:
            raise InputError(f"{r} is not a rank", "Rank", "Use a whole number from 0.")
        size = self._manager.pair.instruct.parameters
        if size > MAX_PARAMETERS:
            raise InputError(f"{size:,} parameters take minutes for each rank", "pair", "Use a smaller pair for this.")
        r = min(r, self.full_rank())
        with self._turn:
            known = {point.r: point for point in self.points()}
            if r in known:
                return known[r]
            point = self._measure(folders[0], r)
            with self._lock:
                self._points[r] = point
            return point

    def _forget_replaced(self) -> None:
        from pipelines.models.weights import stamp

        now = [stamp(folder) for folder in self.folders() or ()]
        if now != self._read:
            self._points.clear()
            self._read = now

    def _measure(self, base: Path, r: int) -> Rebuilt:
        from pipelines.finetune.conversations import training_template
        from pipelines.finetune.evaluate import answer_all, score
        from pipelines.templates import render

        began = time.perf_counter()
        rows = heldout_rows()
        # A copy of its own, within the manager's budget, and gone with this block.
        with self._manager.fresh("instruct") as lease:
            rebuild(lease.model, base, r)
            template = training_template(lease.tokenizer, "")
            texts = [render(row.prompt, template, add_generation_prompt=True).text for row in rows]
            prompts = [lease.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
            with lease.active() as model:
                answers = answer_all(model, lease.tokenizer, prompts, MAX_NEW_TOKENS, sorted(lease.eos_ids))
        result = score(answers, [row.answers for row in rows], [row.reference for row in rows])
        return Rebuilt(r, result.accuracy, result.stopped, len(rows), time.perf_counter() - began)


def heldout_rows() -> tuple[Row, ...]:
    """The questions that every rank is asked: drawn once from the lesson's held-out ones."""
    from pipelines.finetune.config import FinetuneConfig

    rows = collect(FinetuneConfig()).heldout
    return tuple(random.Random(HELDOUT_SEED).sample(rows, min(ROWS, len(rows))))


def rebuild(model: Any, base: Path, r: int) -> None:
    """Replace every matrix W + ΔW of a tuned torch `model` by W + ΔW_r, in place; `base` is the folder with W."""
    import torch

    before = tensors(base)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim != 2 or name not in before or before[name].shape != tuple(parameter.shape):
                continue
            old = read_tensor(before[name])
            change = parameter.float().cpu().numpy() - old
            parameter.copy_(torch.from_numpy(old + truncate(change, r)))


def truncate(matrix: NDArray[np.float32], r: int) -> NDArray[np.float32]:
    """The nearest matrix of rank r: the projection on the r leading singular directions of the shorter side."""
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    if r >= wide.shape[0]:
        return matrix
    exact = wide.astype(np.float64)
    leading = np.linalg.eigh(exact @ exact.T)[1][:, wide.shape[0] - r :]
    near = (leading @ (leading.T @ exact)).astype(np.float32)
    return near.T if tall else near
