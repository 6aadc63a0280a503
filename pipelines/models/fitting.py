"""Whether an adapter's weights fit a model: every adapted module is there, and has the shape the adapter was made for.

Read from headers only. PEFT says nothing when modules of an adapter are not in the model (it answers with the rest of
the adapter), and of a wrong shape it names tensors, not models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.models.weights import Shapes, shapes_of

WEIGHTS = "adapter_model.safetensors"
_WHERE = "model"
_LORA = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>A|B|embedding_A|embedding_B)(\.weight)?")
# Initialisations that take something out of the base's own weights, so that the base would no longer be the base.
_KEEPS_BASE = (True, False, None, "gaussian", "eva", "orthogonal")


def read_adapter(folder: Path) -> dict[str, Any]:
    """The configuration of a LoRA adapter that can share a base. Raises InputError saying why one cannot."""
    name = called(folder)
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"'{name}' has no readable adapter_config.json", _WHERE, "Copy its folder again.") from error
    if not isinstance(config, dict):
        raise InputError(f"the adapter_config.json of '{name}' is no object", _WHERE, "Copy its folder again.")
    if not (folder / WEIGHTS).is_file():
        pickled = sorted(path.name for path in folder.glob("adapter_model.*") if path.suffix in (".bin", ".pt", ".pth"))
        if pickled:
            raise InputError(
                f"'{name}' has pickled weights only ({pickled[0]}), and unpickling runs whatever code is in them",
                _WHERE,
                "Where you trust it, load it with PEFT and save it again: save_pretrained writes safetensors.",
            )
        raise InputError(f"'{name}' has no {WEIGHTS}", _WHERE, "Copy its folder again.")
    check_config(config)
    return config


def called(folder: Path) -> str:
    """How an adapter's folder is named to a person: that of a run lies in a folder called `adapter`."""
    return folder.parent.name if folder.name == "adapter" else folder.name


def check_config(config: Mapping[str, Any]) -> None:
    """Raises InputError for an adapter that is no LoRA, or that would change the base itself."""
    kind = config.get("peft_type")
    if kind != "LORA":
        raise InputError(f"an adapter of type {str(kind)[:40]} cannot share a base", _WHERE, "Use a LoRA adapter.")
    if config.get("bias", "none") != "none":
        raise InputError(
            "an adapter with trained biases changes the base itself", _WHERE, 'Train it with bias="none" instead.'
        )
    start = config.get("init_lora_weights", True)
    if not (isinstance(start, bool | str | None) and start in _KEEPS_BASE):
        raise InputError(
            f"an adapter that begins with {str(start)[:40]} takes its start out of the base's weights",
            _WHERE,
            "Convert it to plain LoRA when saving it (PEFT: path_initial_model_for_weight_conversion).",
        )
    for name in ("layer_replication", "megatron_config"):
        if config.get(name):
            raise InputError(f"an adapter with {name} changes the base itself", _WHERE, "Train one without it.")


def adapter_shapes(folder: Path) -> Shapes:
    """Of the tensors of an adapter. Raises InputError for a file that is not safetensors, or not all there."""
    try:
        return shapes_of([folder / WEIGHTS], _WHERE)
    except InputError as error:
        raise InputError(
            f"the adapter in '{called(folder)}' cannot be read: {error.what}", _WHERE, error.advice
        ) from None


def misfit(adapter: Shapes, base: Shapes, title: str) -> str:
    """The first way in which the adapter does not fit the base called `title`, as part of a sentence; else empty."""
    modules: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in adapter.items():
        if found := _LORA.fullmatch(key):
            modules.setdefault(found["module"], {})[found["side"]] = shape
    if not modules:
        return "it holds no LoRA weights"
    by_name = {key.removesuffix(".weight"): shape for key, shape in base.items()}
    for module, sides in modules.items():
        if module.endswith("experts"):
            continue  # stacked to one parameter here, kept one by one in files
        there = _lookup(by_name, module)
        if there is None:
            return f"it adapts {module}, which {title} does not have"
        made_for = _made_for(sides)
        if made_for is None:
            return f"its weights for {module} are not complete"
        # GPT-2's Conv1D keeps its weight the other way round.
        if made_for not in (there, there[::-1]):
            return f"its {module} is made for a weight of {_times(made_for)}, and that of {title} has {_times(there)}"
    return ""


def _made_for(sides: Mapping[str, tuple[int, ...]]) -> tuple[int, ...] | None:
    """(out, in) of the weight that B A is added to; (vocabulary, width) for an embedding. None: a side is missing."""
    if {"A", "B"} <= sides.keys():
        return sides["B"][0], sides["A"][-1]
    if {"embedding_A", "embedding_B"} <= sides.keys():
        return sides["embedding_A"][-1], sides["embedding_B"][0]
    return None


def _lookup(base: Mapping[str, tuple[int, ...]], module: str) -> tuple[int, ...] | None:
    """The shape of a module's weight. Files may lack the first part of a name, and a head tied to the embedding."""
    if module in base:
        return base[module]
    inner = module.partition(".")[2]
    if inner and inner in base:
        return base[inner]
    if module.endswith("lm_head"):
        return next((shape for name, shape in base.items() if name.endswith(("embed_tokens", "wte"))), None)
    return None


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{size:,}" for size in shape)
