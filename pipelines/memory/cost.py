"""Hours and dollars of a training run, from its floating point operations.

A token costs 2 operations per weight forward and 4 backward (Kaplan et al. 2020,
https://arxiv.org/abs/2001.08361, section 2.1), of the weights it really passes: embeddings are looked up,
and a mixture uses some of its experts. With frozen weights no weight gradients are made, which halves the
backward pass; checkpointing runs the forward pass twice. Attention itself adds 4 · layers · sequence · width
per token forward.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.architecture import Architecture, architecture
from pipelines.memory.gpus import Gpu
from pipelines.memory.setup import MemorySetup

# Share of the peak that fine-tuning reaches: Llama 3's own pretraining states 38–43 %
# (https://arxiv.org/abs/2407.21783, table 4); small batches and padding reach less.
UTILISATION = 0.35
# NF4 weights are dequantized for every product: QLoRA runs at roughly two thirds of LoRA's speed
# (LLaMA-Factory's table, assets/memory/measured.csv, source lf: 1,024 tokens; fsdp_qlora finds the same
# without communication).
QLORA_SPEED = 0.67


@dataclass(frozen=True, slots=True)
class Cost:
    """A run of so many tokens on `gpus` GPUs. `usd`: None where the GPU has no price."""

    flops: float
    hours: float
    usd: float | None


def cost(setup: MemorySetup, gpu: Gpu, tokens: float, utilisation: float = UTILISATION) -> Cost:
    """Time and money to train on `tokens` tokens, all epochs together."""
    total = flops_per_token(architecture(setup.model), setup) * tokens
    speed = gpu.tflops * 1e12 * utilisation * (QLORA_SPEED if setup.quantized else 1.0)
    hours = total / (speed * setup.gpus) / 3600
    return Cost(total, hours, None if gpu.usd_per_hour is None else hours * setup.gpus * gpu.usd_per_hour)


def flops_per_token(model: Architecture, setup: MemorySetup) -> float:
    """Operations of one training token."""
    size = model.dimensions
    weights = 0.0
    for weight in model.weights:
        if weight.kind == "embedding" or len(weight.shape) == 1:
            continue
        share = size.experts_per_token / weight.experts if len(weight.shape) == 3 else 1.0
        weights += weight.size * weight.count * share
    forward = 2 * weights + 4 * size.layers * setup.seq_len * size.heads * size.head_dim
    backward = 2 * forward if setup.method == "full" else forward
    return forward + backward + (forward if setup.gradient_checkpointing else 0.0)
