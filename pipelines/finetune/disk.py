"""Room on the disk: what a run will write, what may be written, and the answer when it is too much.

Two bounds: the free space of the disk, less a reserve that other programs keep; and a budget for the whole directory of
runs, `STUDIO_RUNS_BUDGET` (a size like 20GiB). A run that waits or trains counts in full, whatever it has written yet.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InputError
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.rows import Rows
from pipelines.finetune.run import ENDED, RunDirectory, TrainedModel
from pipelines.settings import parse_bytes

if TYPE_CHECKING:
    from pipelines.architecture import Architecture

VARIABLE = "STUDIO_RUNS_BUDGET"
BUDGET = 20 * 2**30
RESERVE = 512 * 2**20  # of the disk, for everything else that runs here
# transformers writes a checkpoint before it deletes the oldest of the two that are kept; the result comes on top.
CHECKPOINTS = 3
_WIDTH = 4  # bytes of a trained parameter, and of each of AdamW's two states of it, at most
SMALL_FILES = 2 * 2**20  # of each folder: settings, card, random states, a tokenizer of the usual size
_ROW = 120  # bytes of JSON around the texts of a conversation
UNKNOWN_SHARE = 0.05  # of the weights, trained by LoRA in a model whose shapes are not known: more than is usual


def budget(environ: Mapping[str, str] = os.environ) -> int:
    """Bytes that the directory of runs may hold. Raises InputError for a value that is no size."""
    try:
        return parse_bytes(environ[VARIABLE]) if VARIABLE in environ else BUDGET
    except ValueError as error:
        raise InputError(str(error), VARIABLE) from None


def needed(config: FinetuneConfig, model: TrainedModel, described: Architecture | None, rows: Rows | None) -> int:
    """Bytes that a run of a resolved `config` writes at most. `rows`: None where they are linked from another run."""
    trained = _trained(config, model, described)
    checkpoint = trained * _WIDTH * 3 + SMALL_FILES
    texts = 0
    for row in (*rows.train, *rows.heldout, *rows.taught) if rows else ():
        texts += _ROW + len(row.rejected.encode()) + sum(len(message.content.encode()) for message in row.messages)
    return CHECKPOINTS * checkpoint + trained * _WIDTH + SMALL_FILES + texts


def _trained(config: FinetuneConfig, model: TrainedModel, described: Architecture | None) -> int:
    if config.method == "full":
        return described.parameters if described else model.parameters
    if described is None:
        return round(UNKNOWN_SHARE * model.parameters)
    from pipelines.lora import LoraSetup, count

    layers = count(described, LoraSetup(r=config.r, targets=config.target_modules)).trainable
    return layers + len(config.trainable_tokens or ()) * described.dimensions.hidden


def check_room(runs_dir: Path, wanted: int, allowed: int) -> None:
    """Raises InputError where `wanted` bytes more would pass the budget or what is free."""
    promised = _promised(runs_dir)
    held = _held(runs_dir)
    free = shutil.disk_usage(_existing(runs_dir)).free - RESERVE
    for room, what in (
        (allowed - held - promised, f"of the {_size(allowed)} that runs may take here"),
        (free - promised, "on the disk, after a reserve for other programs"),
    ):
        if wanted > room:
            raise InputError(
                f"this run needs up to {_size(wanted)} for checkpoints and weights, and {_size(max(0, room))} are left "
                f"{what}",
                "disk",
                "Use method lora with a smaller r. Whoever runs this studio can delete old runs, "
                f"or allow more with {VARIABLE}.",
            )


def _promised(runs_dir: Path) -> int:
    """Bytes that runs which have not ended will still write."""
    from pipelines.finetune.prediction import Prediction

    total = 0
    for run in RunDirectory.all(runs_dir):
        predicted = Prediction.of(run)
        if predicted is not None and predicted.disk and run.status() not in ENDED:
            total += max(0, predicted.disk - _held(run.path))
    return total


def _held(folder: Path) -> int:
    """Bytes of the files below `folder`, hard links counted once; files that vanish meanwhile count as nothing."""
    seen: dict[tuple[int, int], int] = {}
    for directory, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(os.path.join(directory, name))
            except OSError:
                continue
            seen[status.st_dev, status.st_ino] = status.st_size
    return sum(seen.values())


def _existing(path: Path) -> Path:
    return next(one for one in (path, *path.absolute().parents) if one.exists())


def _size(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"
