"""Peak memory of one training step on one GPU, term by term.

The step is followed through its moments, the peak is the largest of them, and each term is what is alive
    then:

- "loss": all layers' activations or checkpoints are kept, and the logits are at their largest;
- "layer": with checkpointing, the last layer is computed again while all checkpoints are still kept;
- "end": the backward pass reaches the first layer, so all gradients exist, and one layer's activations.

Sharding follows ZeRO (Rajbhandari et al. 2019, https://arxiv.org/abs/1910.02054). Not covered: tensor,
pipeline and sequence parallelism, activation memory of vision towers, memory that other programs hold.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.architecture import Architecture, architecture
from pipelines.lora import LoraCount, LoraSetup, count
from pipelines.memory import activations as act
from pipelines.memory import overhead as over
from pipelines.memory.optimizers import Tensor, state_bytes, state_formula
from pipelines.memory.quantization import model_bytes
from pipelines.memory.setup import MemorySetup, check

TERMS = (
    "weights",
    "quant_constants",
    "gradients",
    "optimizer",
    "adapter",
    "activations",
    "logits",
    "overhead",
)


@dataclass(frozen=True, slots=True)
class Term:
    """One part of the peak. `size`: bytes alive at the peak; `largest`: the most this part takes at any
    moment.
    """

    key: str
    title: str
    size: int
    largest: int
    formula: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """The peak of one GPU: terms that add up to `total` bytes, and the moment of the step when it is reached.

    unseen: bytes that PyTorch's own counters do not see: the CUDA context, and paged optimizer states
    fragmentation: bytes of `overhead` that are reserved but not allocated
    trainable: parameters that are trained, on all GPUs together
    """

    terms: tuple[Term, ...]
    moment: str
    unseen: int
    fragmentation: int
    trainable: int
    setup: MemorySetup
    model: Architecture

    @property
    def total(self) -> int:
        """Bytes of one GPU."""
        return sum(term.size for term in self.terms)

    def size(self, key: str) -> int:
        """Bytes of one term at the peak."""
        return next(term.size for term in self.terms if term.key == key)


def estimate(setup: MemorySetup) -> Estimate:
    """Estimate the peak. Raises InputError for a setting that is not allowed or a model that is not found."""
    check(setup)
    model = architecture(setup.model)
    counted = None
    if setup.method != "full":
        counted = count(model, LoraSetup(r=setup.r, targets=setup.targets))
    return _estimate(model, setup, counted)


def _estimate(model: Architecture, setup: MemorySetup, counted: LoraCount | None) -> Estimate:
    c, n = setup.compute_bytes, setup.gpus
    shards_weights = setup.sharding in ("zero3", "fsdp")
    weight_share = n if shards_weights else 1
    gradient_share = n if setup.sharding in ("zero2", "zero3", "fsdp") else 1
    state_share = n if setup.sharding not in ("none", "ddp") else 1
    trainable = model.parameters if counted is None else counted.trainable
    # accelerate's FSDP keeps the sharded parameters themselves in fp32; DeepSpeed adds fp32 copies to its
    # states.
    fp32_shards = setup.keeps_master and setup.sharding == "fsdp"
    stored = 4 if fp32_shards else c
    quant = setup.quant if setup.quantized else "none"
    base = model_bytes(model, quant, setup.double_quant, stored)
    width = _trained_width(setup)
    adapter = 0 if counted is None else counted.trainable * width
    gradient_width = 4 if fp32_shards or width == 4 else width
    gradients = trainable * gradient_width
    states = state_bytes(_tensors(model, counted), setup.optimizer, 4 if setup.keeps_master else width)
    master = 4 * trainable if setup.keeps_master and not fp32_shards else 0

    weights = base.weights / weight_share
    # FSDP and ZeRO-3 shard parameters; bitsandbytes' constants are no parameters, so each GPU keeps them all.
    constants = base.constants
    adapter_kept, gradients_kept = adapter / weight_share, gradients / gradient_share
    if setup.offload:
        weights, adapter_kept, states, master, gradients_kept = 0.0, 0.0, 0, 0, 0.0
    if setup.sharding == "ddp":
        gradients_kept *= 2  # DistributedDataParallel reduces in buckets, a second copy
    optimizer = (states + master) / state_share

    moments = _moments(model, setup, counted, gradients_kept, gradient_width)
    moment = max(moments, key=lambda name: sum(moments[name]))
    grads, kept, logits = moments[moment]
    extra = over.overhead(model, setup, dynamic=kept + logits, adapter_bytes=adapter)
    sizes = {
        "weights": weights,
        "quant_constants": constants,
        "gradients": grads,
        "optimizer": optimizer,
        "adapter": adapter_kept,
        "activations": kept,
        "logits": logits,
        "overhead": extra.total,
    }
    largest = sizes | {
        "gradients": max(one[0] for one in moments.values()),
        "activations": max(one[1] for one in moments.values()),
        "logits": max(one[2] for one in moments.values()),
    }
    formulas = _formulas(model, setup, counted, width, gradient_width, extra)
    terms = tuple(Term(key, TITLES[key], round(sizes[key]), round(largest[key]), formulas[key]) for key in TERMS)
    paged = optimizer if setup.optimizer == "paged_adamw_8bit" else 0.0
    unseen = round(extra.context + paged)
    return Estimate(terms, moment, unseen, round(extra.fragmentation), trainable, setup, model)


TITLES = {
    "weights": "Weights",
    "quant_constants": "Quantization constants",
    "gradients": "Gradients",
    "optimizer": "Optimizer states",
    "adapter": "Adapter",
    "activations": "Activations",
    "logits": "Logits",
    "overhead": "Overhead",
}
MOMENTS = {
    "loss": "when the loss is computed: every layer's activations are kept, and the logits are at their largest",
    "layer": "when the last layer is computed again: its activations stand beside all checkpoints",
    "end": "at the end of the backward pass: all gradients exist, and one layer's activations",
}


def _trained_width(setup: MemorySetup) -> int:
    """Bytes of one trained parameter."""
    if setup.method == "full":
        return setup.compute_bytes
    if setup.adapter_bytes:
        return setup.adapter_bytes
    # trl.SFTTrainer casts the adapter of a quantized model to bf16; PEFT keeps any other in fp32.
    return 2 if setup.quantized else 4


def _tensors(model: Architecture, counted: LoraCount | None) -> list[Tensor]:
    """The trainable tensors."""
    if counted is None:
        return [
            Tensor(weight.shape, weight.count, weight.kind == "embedding")
            for weight in model.weights
            if not weight.tied
        ]
    tensors = []
    for target in counted.resolution.targets:
        inputs, outputs = target.weight.features
        rank = counted.modules[0].rank // counted.resolution.targets[0].rank_factor
        rank *= target.rank_factor * target.weight.experts
        tensors += [Tensor((rank, inputs), target.weight.count), Tensor((outputs, rank), target.weight.count)]
    return tensors


def _moments(
    model: Architecture, setup: MemorySetup, counted: LoraCount | None, gradients: float, gradient_width: int
) -> dict[str, tuple[float, float, float]]:
    """(gradients, activations, logits) in bytes at each moment."""
    tokens, layers = setup.tokens, model.dimensions.layers
    layer = act.layer_bytes(model, setup, counted.resolution if counted else None).total(tokens)
    work = act.working_bytes(model, setup) * tokens
    logits, _ = act.logit_bytes(model, setup)
    last = act.last_norm_bytes(model, setup) * tokens
    # The gradient of the head, or of the tied embeddings, comes first; in chunks it is made twice, once to
    # add up.
    first = 0.0
    if counted is None:
        head = model.dimensions.vocab * model.dimensions.hidden * gradient_width
        first = min(gradients, head * (2 if setup.loss == "chunked" else 1))
    if setup.accumulation > 1:
        first = gradients
    at_end = gradients
    if setup.step_in_backward:
        at_end = min(gradients, first) or gradients / layers
    if not setup.gradient_checkpointing:
        return {"loss": (first, layers * layer + last, logits), "end": (at_end, layer + work, 0.0)}
    checkpoints = act.checkpoint_bytes(model, setup) * tokens * layers
    if setup.offload_activations:
        checkpoints = 2 * checkpoints / layers  # one layer's is on its way out or in, beside the one in use
    return {
        "loss": (first, checkpoints + last, logits),
        "layer": (first, checkpoints + layer + work, 0.0),
        "end": (at_end, layer + work, 0.0),
    }


def _formulas(
    model: Architecture,
    setup: MemorySetup,
    counted: LoraCount | None,
    width: int,
    gradient_width: int,
    extra: over.Overhead,
) -> dict[str, str]:
    """Each term's rule with its numbers, as a person reads it on hover."""
    c, size = setup.compute_bytes, model.dimensions
    trainable = model.parameters if counted is None else counted.trainable
    shared = f" ÷ {setup.gpus} GPUs" if setup.gpus > 1 else ""
    weights_shared = shared if setup.sharding in ("zero3", "fsdp") else ""
    gradients_shared = shared if setup.sharding in ("zero2", "zero3", "fsdp") else ""
    states_shared = shared if setup.sharding not in ("none", "ddp") else ""
    if setup.quantized:
        bits = "1 byte" if setup.quant == "int8" else "½ byte"
        rest = "embeddings, norms, head and stacked experts" if size.experts else "embeddings, norms and head"
        weights = f"linear layers at {bits} per weight, {rest} at {c} bytes{weights_shared}"
    else:
        stored = 4 if setup.keeps_master and setup.sharding == "fsdp" else c
        weights = f"{model.parameters:,} parameters × {stored} bytes{weights_shared}"
    states = state_formula(setup.optimizer, 4 if setup.keeps_master else width)
    if setup.keeps_master and setup.sharding != "fsdp":
        states += ", and 4 bytes for the fp32 master weight"
    layer = act.layer_bytes(model, setup, counted.resolution if counted else None)
    per_token = layer.total(setup.tokens) / setup.tokens
    if setup.gradient_checkpointing:
        kept = f"{size.layers} checkpoints × {c} × {size.hidden:,} bytes × {setup.tokens:,} tokens"
        kept += f", and one layer computed again: {per_token:,.0f} bytes per token"
    else:
        kept = f"{size.layers} layers × {per_token:,.0f} bytes × {setup.tokens:,} tokens"
    constants = "none: nothing is quantized"
    if setup.quantized and setup.quant == "int8":
        constants = "one fp32 scale per output row"
    elif setup.quantized and setup.double_quant:
        constants = "per 64 weights 1 byte, per 256 of those 4 bytes, and the tables of levels of each layer"
    elif setup.quantized:
        constants = "per 64 weights 4 bytes, and the table of levels of each layer"
    return {
        "weights": weights,
        "quant_constants": constants,
        "gradients": f"{trainable:,} trainable parameters × {gradient_width} bytes{gradients_shared}",
        "optimizer": states + states_shared,
        "adapter": "no adapter" if counted is None else f"{trainable:,} parameters × {width} bytes{weights_shared}",
        "activations": kept,
        "logits": act.logit_bytes(model, setup)[1],
        "overhead": extra.formula,
    }
