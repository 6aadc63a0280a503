"""The peak of one run's worker in bytes: the estimator's terms, for this model, method, dtype, batch and length."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InputError
from pipelines.finetune.arguments import torch_dtype
from pipelines.finetune.computing import needs_checkpoints
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.run import TrainedModel
from pipelines.finetune.shapes import Shapes

if TYPE_CHECKING:
    from pipelines.architecture import Architecture

_FP32 = 4
_DTYPES = {"float32": "fp32", "bfloat16": "bf16"}
# Of a worker on a CPU, measured on runs of the embedded pair with glibc: what is imported only while it trains, and
# what the heap keeps of activations that were freed, relative to their largest sum: their sizes differ
# from batch to batch.
LATER_IMPORTS = 60 * 2**20
HEAP_SHARE = 1.0
LOOKED_AT_ONCE = 128  # rows of one call of `generate` (pipelines.finetune.evaluate.answer_all)


def memory_of(
    described: Architecture, config: FinetuneConfig, model: TrainedModel, shapes: Shapes, device: str, baseline: int
) -> tuple[int | None, str]:
    """(bytes, what they count). None for settings that the estimator refuses."""
    from pipelines.memory import MemorySetup, estimate

    dtype = _DTYPES[torch_dtype(config, model.parameters, device)]
    sequences = (config.batch_size or 1) * (2 if config.objective == "dpo" else 1)
    try:
        result = estimate(
            MemorySetup(
                model=_text_of(model),
                method=config.method,
                dtype=dtype,
                r=config.r,
                targets=config.target_modules,
                batch=sequences,
                seq_len=max(1, shapes.longest),
                gradient_checkpointing=checkpointed(config, model, shapes, device),
                loss="fused",
                accumulation=config.gradient_accumulation,
            )
        )
    except InputError:
        return None, ""
    if device == "cuda":
        return result.total - result.unseen, "what PyTorch reserves on the GPU"
    terms = {term.key: term.size for term in result.terms}
    dynamic = terms["activations"] + terms["logits"]
    kept = sum(terms.values()) - terms["overhead"] - dynamic
    unquantized = max(0, terms["overhead"] - result.unseen - result.fragmentation)
    looking = _looking_bytes(described, shapes, result.setup.compute_bytes)
    peak = baseline + LATER_IMPORTS + kept + unquantized + round((1 + HEAP_SHARE) * max(dynamic, looking))
    if not baseline:
        return peak, "the worker's resident memory, without its libraries"
    return peak, f"the worker's resident memory; its libraries alone take {baseline / 2**20:,.0f} MiB"


def checkpointed(config: FinetuneConfig, model: TrainedModel, shapes: Shapes, device: str) -> bool:
    """Whether the run will compute each layer again in the backward pass."""
    dtype = _DTYPES[torch_dtype(config, model.parameters, device)]
    return needs_checkpoints(_text_of(model), config, model.parameters, dtype, max(1, shapes.longest), device)


def _looking_bytes(described: Architecture, shapes: Shapes, width: int) -> int:
    """While held-out rows are answered: keys and values of every layer, one layer's twice while they grow, and the
    logits of one token in the model's dtype and in fp32 (transformers' `_sample`)."""
    size = described.dimensions
    rows = min(LOOKED_AT_ONCE, shapes.looked_at)
    tokens = rows * (shapes.longest + shapes.max_new_tokens)
    cache = 2 * tokens * size.kv_heads * size.head_dim * width * (size.layers + 1)
    return int(cache + rows * size.vocab * (width + _FP32))


def _text_of(model: TrainedModel) -> str:
    described = Path(model.source) / "config.json"
    return described.read_text(encoding="utf-8") if described.is_file() else model.source
