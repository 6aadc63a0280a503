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
# GB; the share for several GPUs lies between what fsdp-qlora-b4 (0.25) and fsdp-lora-b4 (0.20) ask for.
FRAGMENTED_BASE = int(0.5 * 2**30)
FRAGMENTED_SHARE = 0.06
FRAGMENTED_SHARE_DISTRIBUTED = 0.225
# Layers that FSDP or ZeRO-3 hold in full at once: the one in use and the one fetched ahead. The stream that
# gathers keeps the block of one more: a freed layer's memory comes back when the GPU has passed its event, and
# two of these may be pending (torch.distributed.fsdp._limiter_utils, _max_num_inflight_all_gathers).
GATHERED_LAYERS = 2
PENDING_LAYERS = 1


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
    share = FRAGMENTED_SHARE_DISTRIBUTED if setup.gpus > 1 else FRAGMENTED_SHARE
    fragmentation = FRAGMENTED_BASE + share * dynamic
    unused = f"reserved but unused: 0.5 GiB and {share:.1%} of activations and logits"
    if setup.sharding in ("zero3", "fsdp") and setup.gpus > 1:
        layer, outside = _units(model, setup, adapter_bytes)
        allocated += GATHERED_LAYERS * layer + outside
        fragmentation += PENDING_LAYERS * layer
        parts.append(f"{GATHERED_LAYERS} layers, embeddings and head gathered in full")
        unused += ", and one gathered layer that is not handed back yet"
        if setup.offload:
            # Each shard is copied to the GPU before it is gathered (FlatParamHandle.pre_unshard), on a stream of
            # its own, whose blocks no other stream gets: the largest copy stays reserved.
            fragmentation += max(layer, outside) / setup.gpus
            unused += ", and the copy of the largest shard that was fetched from the CPU"
    parts.append(unused)
    return Overhead(CONTEXT, fragmentation, allocated, ", ".join(parts))


def _units(model: Architecture, setup: MemorySetup, adapter_bytes: float) -> tuple[float, float]:
    """Bytes of what is gathered together: (one layer with its adapter, everything outside of the layers)."""
    layers, outside = 0.0, 0.0
    for weight in model.weights:
        size: float = weight.size * setup.compute_bytes
        if setup.quantized and is_quantized(weight, model):
            size = quantized_bytes(weight, setup.quant, setup.double_quant).weights
        if "{}" in weight.name:
            layers += size * weight.count
        elif not weight.tied:
            outside += size
    return (layers + adapter_bytes) / model.dimensions.layers, outside
