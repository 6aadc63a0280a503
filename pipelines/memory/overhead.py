"""What a GPU holds besides the tensors of the model: measured, since no formula gives it.

The constants come from the calibration rows of assets/memory/measured.csv and from nothing else; the test
rows are kept apart (pipelines.memory.measured).
"""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.architecture import Architecture
from pipelines.memory.quantization import is_quantized, largest_quantized, quantized_bytes
from pipelines.memory.setup import MemorySetup

# CUDA context with cuBLAS handles and kernels, which PyTorch's counters leave out and nvidia-smi shows.
CONTEXT = int(0.5 * 2**30)
# Reserved by the caching allocator beyond what is allocated: a constant, and a share of what comes and goes.
# The single-GPU share puts both of its calibration rows (lf-4096, lf-16384) within their rounding of ± 0.5
# GB; the share for several GPUs meets fsdp-qlora-b4 and fsdp-lora-b4, where gathers and reductions run on a
# second stream and hold blocks back.
FRAGMENTED_BASE = int(0.5 * 2**30)
FRAGMENTED_SHARE = 0.06
FRAGMENTED_SHARE_DISTRIBUTED = 0.26
# Layers that FSDP or ZeRO-3 hold in full at once: the one in use and the one fetched ahead.
GATHERED_LAYERS = 2


@dataclass(frozen=True, slots=True)
class Overhead:
    """Bytes, by origin. `allocated`: tensors that are no part of another term: gathered layers, dequantized
    weights.
    """

    context: float
    fragmentation: float
    allocated: float
    formula: str

    @property
    def total(self) -> float:
        """All of it."""
        return self.context + self.fragmentation + self.allocated


def overhead(model: Architecture, setup: MemorySetup, dynamic: float, adapter_bytes: float) -> Overhead:
    """`dynamic`: bytes of activations and logits at the peak; `adapter_bytes`: of the whole adapter."""
    parts = ["CUDA context"]
    allocated = 0.0
    if setup.quantized and setup.quant != "int8":
        allocated += setup.compute_bytes * largest_quantized(model)
        parts.append("one weight matrix dequantized for its product")
    if setup.sharding in ("zero3", "fsdp") and setup.gpus > 1:
        allocated += _gathered(model, setup, adapter_bytes)
        parts.append(f"{GATHERED_LAYERS} layers, embeddings and head gathered in full")
    share = FRAGMENTED_SHARE_DISTRIBUTED if setup.gpus > 1 else FRAGMENTED_SHARE
    fragmentation = FRAGMENTED_BASE + share * dynamic
    parts.append(f"reserved but unused: 0.5 GiB and {share:.0%} of activations and logits")
    return Overhead(CONTEXT, fragmentation, allocated, ", ".join(parts))


def _gathered(model: Architecture, setup: MemorySetup, adapter_bytes: float) -> float:
    """Bytes of the units that are whole on every GPU for a moment."""
    layers, outside = 0.0, 0.0
    for weight in model.weights:
        size: float = weight.size * setup.compute_bytes
        if setup.quantized and is_quantized(weight, model):
            size = quantized_bytes(weight, setup.quant, setup.double_quant).weights
        if "{}" in weight.name:
            layers += size * weight.count
        elif not weight.tied:
            outside += size
    layers += adapter_bytes
    return GATHERED_LAYERS * layers / model.dimensions.layers + outside
