"""Whether a checkpoint is whole, from the outside of its files: a trainer that reads half of one breaks off, or worse.

Looked at are names, sizes, headers and the ends of archives, not the numbers: a weight that changed its value on the
disk is not found. What is missing is not always missed by transformers: without `optimizer.pt` or the random states it
goes on, and to other losses.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from pipelines.errors import InputError
from pipelines.models.weights import shapes_of

# Several processes that share the weights write folders of their own in place of the first of each.
_SHARDED = ("pytorch_model_fsdp*", "optimizer_*", "global_step*")
_NEEDED = ("*.safetensors", "optimizer.pt", "scheduler.pt", "rng_state*.pth")


def damage(folder: Path, step: int) -> str:
    """What is wrong with the checkpoint of that step, the first thing, as part of a sentence; empty for a whole one."""
    try:
        state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        if not isinstance(state, dict) or state.get("global_step") != step:
            return f"its trainer_state.json is not that of step {step}"
    except FileNotFoundError:
        return "it has no trainer_state.json"
    except (OSError, ValueError):
        return "its trainer_state.json cannot be read"
    sharded = any(list(folder.glob(pattern)) for pattern in _SHARDED)
    for pattern in () if sharded else _NEEDED:
        if not list(folder.glob(pattern)):
            return f"it has no {pattern}"
    for file in sorted(folder.glob("*")):
        if file.suffix == ".safetensors":
            try:
                shapes_of([file])
            except InputError as error:
                return error.what
        elif file.suffix in (".pt", ".pth") and not zipfile.is_zipfile(file):
            return f"{file.name} is cut off"
    return ""
