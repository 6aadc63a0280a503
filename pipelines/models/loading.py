"""The only calls of `from_pretrained`: safetensors only, remote code never, errors a person can act on."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.models.device import choose_dtype
from pipelines.models.engine.lean import lean_model
from pipelines.models.resident import Resident
from pipelines.models.spec import ModelSpec

_WHERE = "model"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
# transformers imports a model's code when it is first named; two threads at once can meet half a module.
_reading = threading.Lock()
if hasattr(os, "register_at_fork"):  # a fork copies the lock, but not the thread that holds it
    os.register_at_fork(after_in_child=_reading._at_fork_reinit)  # type: ignore[attr-defined]


def load_model(spec: ModelSpec, folder: Path, parameters: int, device: str) -> Resident:
    """Read the weights of a folder onto the device and run one token through them: the first pass is slow.

    Raises InputError when the folder cannot be read or the memory does not suffice.
    """
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with _reading:
            model = AutoModelForCausalLM.from_pretrained(
                str(folder),
                dtype=choose_dtype(device, parameters),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
            )
        model.requires_grad_(False)
        model = model.to(device).eval()
        with torch.inference_mode():
            model(input_ids=torch.zeros((1, 1), dtype=torch.long, device=device))
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise InputError(f"'{spec.key}' does not fit in memory", _WHERE, "Choose a smaller model.") from error
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        advice = "It has to be a causal language model that transformers knows without remote code."
        raise InputError(f"'{spec.key}' cannot be loaded ({_first_line(error)})", _WHERE, advice) from error
    return Resident(spec, model, device, lean_model(model))


def has_tokenizer(folder: Path) -> bool:
    """Whether a tokenizer can be loaded from that folder."""
    return any((folder / name).is_file() for name in _TOKENIZER_FILES)


def load_tokenizer(spec: ModelSpec, folder: Path) -> Any:
    """The tokenizer of a folder, a fast one where there is one."""
    from transformers import AutoTokenizer

    try:
        with _reading:
            return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise InputError(
            f"the tokenizer of '{spec.key}' cannot be loaded ({_first_line(error)})",
            _WHERE,
            "Restore its folder.",
        ) from error


def _first_line(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    # Paths of the machine are nobody's business; the folder's name says enough.
    words = ["…/" + Path(word).name if word.count("/") > 1 else word for word in text.split()]
    return " ".join(words)[:160].rstrip(".")
