"""The chapter's figures about memory and money beside the exact ones, computed here and now."""

from __future__ import annotations

from pipelines.architecture import architecture
from pipelines.lora.chapter import Claim
from pipelines.memory.cost import cost
from pipelines.memory.estimate import Estimate, estimate
from pipelines.memory.gpus import fits, gpus
from pipelines.memory.setup import MemorySetup

_SEVENTY = "llama-3.1-70b"


def memory_claims() -> tuple[Claim, ...]:
    """Every figure of the chapter on this subject, at its 70B: batch 1, 2,048 tokens, rank 16 on all linear layers."""
    parameters = architecture(_SEVENTY).parameters
    plain = estimate(MemorySetup(_SEVENTY, method="full"))
    mixed = estimate(MemorySetup(_SEVENTY, method="full", master="yes"))
    lora = estimate(MemorySetup(_SEVENTY, method="lora"))
    double = estimate(MemorySetup(_SEVENTY))
    single = estimate(MemorySetup(_SEVENTY, double_quant=False))
    half = lora.size("weights")
    quarter = 1 - _quantized(double) / half
    sharded = next(fit for fit in fits(mixed) if fit.gpu.key == "a100-80gb")
    return (
        Claim(
            "Full fine-tuning of 70B takes 840 GB, 12+ GPUs",
            f"{_gb(plain.total)} with everything in bf16, {_gb(mixed.total)} in mixed precision",
            f"840 GB is 140 of weights, 140 of gradients and {_gb(8 * parameters)} of AdamW's two fp32 states, which "
            "leaves out fp32 master weights and activations. PyTorch keeps the states of bf16 weights in bf16. Mixed "
            f"precision takes {sharded.count} A100 80 GB, sharded by FSDP in powers of two.",
        ),
        Claim(
            "LoRA on 70B takes 145 GB",
            _gb(lora.total),
            f"{_gb(half)} of frozen bf16 weights, and the adapter; at 2,048 tokens activations and logits add "
            f"{_gb(lora.size('activations') + lora.size('logits'))} that the chapter leaves out.",
        ),
        Claim(
            "QLoRA on 70B takes 40 GB, the weights 35 GB",
            f"{_gb(double.total)}, the weights {_gb(_quantized(double), 1)} "
            f"({_gb(_quantized(single), 1)} without double quantization)",
            "35 GB is half a byte times 70 billion. Embeddings and the output head stay in bf16, and each block of 64 "
            "weights carries its scale.",
        ),
        Claim(
            "4-bit weights take 75 % less",
            f"{quarter:.1%} less",
            "Three quarters would hold if all weights were quantized and scales were free.",
        ),
        Claim(
            "A fine-tuning run costs $10–50",
            _price(),
            "From operations at 35 % of the peak and a price of one day; every setting that is tried is a run.",
        ),
    )


def _quantized(result: Estimate) -> int:
    return result.size("weights") + result.size("quant_constants")


def _price() -> str:
    """QLoRA of the 8B and the 70B on ten million tokens, on one H100."""
    h100 = next(gpu for gpu in gpus() if gpu.key == "h100")
    parts = []
    for key, name in (("llama-3.1-8b", "8B"), (_SEVENTY, "70B")):
        run = cost(MemorySetup(key), h100, 10e6)
        parts.append(f"{name} on 10M tokens: ${run.usd or 0:.2f}, {run.hours:.1f} h on an H100")
    return " · ".join(parts)


def _gb(amount: float, digits: int = 0) -> str:
    return f"{amount / 1e9:,.{digits}f} GB"
