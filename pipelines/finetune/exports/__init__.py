"""What a person takes home from a run: one file for each tool, which runs or loads as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InputError, unknown
from pipelines.finetune.exports.adapter import adapter_archive
from pipelines.finetune.exports.archive import write_text
from pipelines.finetune.exports.axolotl import axolotl_archive
from pipelines.finetune.exports.llama_factory import llama_factory_archive
from pipelines.finetune.exports.merged import merged_archive
from pipelines.finetune.exports.trl import trl_file
from pipelines.finetune.exports.unsloth import unsloth_file
from pipelines.finetune.losses import losses_csv
from pipelines.finetune.run import RunDirectory
from pipelines.finetune.view import view

if TYPE_CHECKING:
    from pipelines.models import ModelManager

__all__ = ["TOOLS", "export"]


def losses_file(run: RunDirectory, folder: Path) -> Path:
    """losses-<id>.csv in `folder`: each step so far, also while the run trains."""
    return write_text(folder / f"losses-{run.id[:6]}.csv", losses_csv(view(run)))


_WRITERS: dict[str, Callable[[RunDirectory, Path], Path]] = {
    "trl": trl_file,
    "axolotl": axolotl_archive,
    "llama-factory": llama_factory_archive,
    "unsloth": unsloth_file,
    "adapter": adapter_archive,
    "losses": losses_file,
}
TOOLS = (*_WRITERS, "merged")
_SFT_ONLY = ("axolotl", "llama-factory", "unsloth")


def export(run: RunDirectory, tool: str, folder: Path, manager: ModelManager) -> Path:
    """Write the file of `tool` (one of `TOOLS`) into `folder` and return it; a second call returns the same file.

    trl and unsloth are Python files that hold their rows; the others are zip archives of one folder. Only `merged`
    loads weights, through `manager`. Raises InputError for an unknown tool, or what the run cannot give.
    """
    if not isinstance(tool, str) or tool not in TOOLS:
        raise unknown(str(tool), TOOLS, "tool")
    if tool in _SFT_ONLY and run.config.objective != "sft":
        raise InputError(f"{tool} is exported for SFT runs only", "tool", "Take the trl script, or the adapter.")
    if tool in _SFT_ONLY and run.config.trainable_tokens:
        raise InputError(
            f"this run trains {len(run.config.trainable_tokens)} rows of the embedding along, which is not exported for"
            f" {tool}",
            "tool",
            "Use trl, or the adapter itself.",
        )
    if tool in _SFT_ONLY and run.model.continues:
        raise InputError(
            f"this run trains {run.model.continues} further, which is not exported for {tool}",
            "tool",
            "Take the trl script, which brings that adapter along.",
        )
    if tool == "merged":
        return merged_archive(run, folder, manager)
    return _WRITERS[tool](run, folder)
