"""The only calls of `from_pretrained`: safetensors only, remote code never, errors a person can act on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.architecture import architecture
from pipelines.building import BUILDING
from pipelines.errors import InputError
from pipelines.faults import is_out_of_memory
from pipelines.memory.quantization import model_bytes, quantization_arguments
from pipelines.models.device import choose_dtype, number_bytes, weight_bytes
from pipelines.models.engine.lean import lean_model
from pipelines.models.resident import Resident
from pipelines.models.spec import ModelSpec

_WHERE = "model"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def load_model(spec: ModelSpec, folder: Path, parameters: int, device: str) -> Resident:
    """Read the weights of a folder onto the device and run one token through them: the first pass is slow.

    Raises InputError when the folder cannot be read or the memory does not suffice.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    dtype = choose_dtype(device, parameters)
    try:
        with BUILDING:
            model = AutoModelForCausalLM.from_pretrained(
                str(folder),
                dtype=dtype,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                **_quantized(spec.quant, dtype, device),
            )
        model.requires_grad_(False)
        model = (model if spec.quant else model.to(device)).eval()
        with torch.inference_mode():
            model(input_ids=torch.zeros((1, 1), dtype=torch.long, device=device))
    except (
        *(OSError, ValueError, RuntimeError, KeyError, ImportError, MemoryError, SafetensorError),
        AssertionError,  # bitsandbytes: the width of a layer does not suit its kernel
    ) as error:
        if is_out_of_memory(error):
            raise InputError(f"'{spec.key}' does not fit in memory", _WHERE, "Choose a smaller model.") from error
        advice = "It has to be a causal language model that transformers knows without remote code."
        if spec.quant:
            advice += f" Not all of its widths may suit bitsandbytes on this machine: load it without '@{spec.quant}'."
        raise InputError(f"'{spec.key}' cannot be loaded ({_first_line(error)})", _WHERE, advice) from error
    return Resident(spec, model, device, lean_model(model))


def _quantized(quant: str, dtype: Any, device: str) -> dict[str, Any]:
    """Keyword arguments of `from_pretrained`."""
    if not quant:
        return {}
    from transformers import BitsAndBytesConfig

    setup = BitsAndBytesConfig(**quantization_arguments(str(dtype).removeprefix("torch."), quant))
    return {"quantization_config": setup, "device_map": {"": device}}


def needed_bytes(spec: ModelSpec, folder: Path, parameters: int, device: str) -> int:
    """Bytes that the weights of `folder` will take in memory, of a quantized model with its constants."""
    if not spec.quant:
        return weight_bytes(parameters, device)
    described = architecture((folder / "config.json").read_text(encoding="utf-8"))
    width = number_bytes(parameters, device)
    counted = model_bytes(described, spec.quant, True, width, repacked=device == "cpu" and _repacks())
    return counted.weights + counted.constants


def _repacks() -> bool:
    """Whether bitsandbytes repacks 4-bit layers on this CPU: 1.6 times the tokens a second of the pocket base, on a
    Xeon with AMX, for a third of a percent more bytes."""
    from bitsandbytes.functional import has_avx512bf16

    return bool(has_avx512bf16())


def has_tokenizer(folder: Path) -> bool:
    """Whether a tokenizer can be loaded from that folder."""
    return any((folder / name).is_file() for name in _TOKENIZER_FILES)


def load_tokenizer(spec: ModelSpec, folder: Path) -> Any:
    """The tokenizer of a folder, a fast one where there is one."""
    from transformers import AutoTokenizer

    try:
        with BUILDING:
            return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of a damaged file the tokenizers library raises an Exception of no kind
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
