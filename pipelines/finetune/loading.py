"""The model and tokenizer of a run, in the worker's own process: trainable, and shared with nobody."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.finetune.arguments import torch_dtype
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.run import TrainedModel
from pipelines.memory.quantization import quantization_arguments

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_tokenizer(model: TrainedModel) -> PreTrainedTokenizerBase:
    """The tokenizer of the base, with a padding token: its own where it has one, else its end token.

    Which token pads does not matter for the loss: labels are masked by attention, never by id.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model.source, revision=model.revision or None)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(model: TrainedModel, config: FinetuneConfig, device: str) -> PreTrainedModel:
    """The base, on `device`, in the dtype of the run, quantized to NF4 for qlora."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    dtype = torch_dtype(config, model.parameters, device)
    options: dict[str, Any] = {"dtype": getattr(torch, dtype), "revision": model.revision or None}
    if config.method == "qlora":
        setup = BitsAndBytesConfig(**quantization_arguments(dtype))
        options |= {"quantization_config": setup, "device_map": {"": device}}
    loaded = AutoModelForCausalLM.from_pretrained(model.source, **options)
    if config.method == "qlora":
        keep_trainable(loaded)
        return loaded
    return loaded.to(device)


def load_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """The adapter of `folder` over its base, to be trained further.

    TRL takes it as it is. Its `DPOTrainer` copies such an adapter for the reference: the model as it begins, not the
    bare base.
    """
    from peft import PeftModel

    return PeftModel.from_pretrained(model, folder, is_trainable=True)


def give_trained_rows_a_bias() -> None:
    """Let TRL's output head read the bias, which is None, of a head whose rows are trained (`trainable_tokens`).

    PEFT 0.21 wraps the tied head as well and passes on its weight alone; TRL 1.16 asks for both.
    """
    from peft.utils.other import TrainableTokensWrapper

    TrainableTokensWrapper.bias = None  # type: ignore[assignment]


def keep_trainable(model: PreTrainedModel) -> None:
    """Keep bitsandbytes from repacking 4-bit layers for inference on a CPU.

    On CPUs with AVX512-BF16 the first forward without gradients repacks each `Linear4bit` for a kernel without
    autograd; LoRA gradients after it are wrong (median cosine 0.018 against an exact reference, bitsandbytes 0.50.2)
    with no more than a warning. Evaluation during training is such a forward.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from bitsandbytes.nn import Linear4bit
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def end_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Every token that ends an answer: the model's own list, and the tokenizer's end token."""
    listed = model.generation_config.eos_token_id
    ids = [] if listed is None else [listed] if isinstance(listed, int) else list(listed)
    return list(dict.fromkeys([*ids, *([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id])]))
