"""The settings of a training run that decide its memory, checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.errors import InputError, unknown

METHODS = ("full", "lora", "qlora")
OPTIMIZERS = ("adamw", "adamw_8bit", "paged_adamw_8bit", "adafactor", "sgd")
DTYPES = {"bf16": 2, "fp16": 2, "fp32": 4}
QUANTS = ("nf4", "fp4", "int8", "none")
ATTENTIONS = ("eager", "sdpa", "flash_attention_2")
SHARDINGS = ("none", "ddp", "zero1", "zero2", "zero3", "fsdp")
LOSSES = ("full", "chunked", "fused")
MASTERS = ("auto", "yes", "no")
MAX_TOKENS = 1 << 26
MAX_GPUS = 16_384


@dataclass(frozen=True, slots=True)
class MemorySetup:
    """One training run on one kind of GPU. The first fifteen are the endpoint's.

    model: catalogue key, Hub id or the text of a config.json
    dtype: of weights that are not quantized, and of the computation; adapters follow their library
    quant, double_quant: of the linear layers, only with method qlora
    r, targets: of the adapter, with methods lora and qlora
    batch, seq_len: sequences per GPU in one forward pass, tokens in each
    loss: how cross-entropy sees the logits. "full": all of them in fp32, as transformers' own loss.
        "chunked":
        kept in the model's dtype, the loss in pieces (torchtune). "fused": tile by tile, never held (TRL
        1.16, Liger)
    master: whether full fine-tuning keeps fp32 master weights and fp32 states beside half-precision weights.
        "auto" is what the library does: DeepSpeed and accelerate's FSDP do, plain PyTorch does not
    accumulation: micro-batches per optimizer step; above 1 the gradients stay during the forward pass
    adapter_bytes: per adapter parameter; 0 is what the library does: TRL keeps a QLoRA adapter in bf16 (2),
        PEFT
        any other in fp32 (4)
    offload: FSDP keeps its shards in the memory of the CPU
    step_in_backward: each parameter is updated as its gradient appears, so that gradients never add up
    offload_activations: checkpoints wait in the memory of the CPU
    compiled: torch.compile fuses the elementwise operations of a layer, which then save less
    kv_expanded: keys and values are repeated for every query head before attention (torchtune)
    logit_copies: fp32 copies of the logits alive at once during a full loss; 3 in transformers 5, 4 before
        4.45
    """

    model: str
    method: str = "qlora"
    optimizer: str = "adamw"
    dtype: str = "bf16"
    quant: str = "nf4"
    double_quant: bool = True
    r: int = 16
    targets: str = "all-linear"
    batch: int = 1
    seq_len: int = 2048
    gradient_checkpointing: bool = True
    attention: str = "sdpa"
    gpus: int = 1
    sharding: str = "none"
    loss: str = "full"
    master: str = "auto"
    accumulation: int = 1
    adapter_bytes: int = 0
    offload: bool = False
    step_in_backward: bool = False
    offload_activations: bool = False
    compiled: bool = False
    kv_expanded: bool = False
    logit_copies: int = 3

    @property
    def tokens(self) -> int:
        """Tokens of one forward pass on one GPU."""
        return self.batch * self.seq_len

    @property
    def compute_bytes(self) -> int:
        """Bytes of one number of the computation."""
        return DTYPES[self.dtype]

    @property
    def quantized(self) -> bool:
        """Whether linear layers are held in 4 or 8 bits."""
        return self.method == "qlora" and self.quant != "none"

    @property
    def keeps_master(self) -> bool:
        """Whether fp32 master weights are kept beside half-precision ones."""
        if self.method != "full" or self.dtype == "fp32":
            return False
        if self.master == "auto":
            return self.sharding in ("zero1", "zero2", "zero3", "fsdp")
        return self.master == "yes"


def check(setup: MemorySetup) -> MemorySetup:
    """The same setup. Raises InputError for the first value that is not allowed, naming field and choices."""
    _one_of(setup.method, METHODS, "method")
    _one_of(setup.optimizer, OPTIMIZERS, "optimizer")
    _one_of(setup.dtype, DTYPES, "dtype")
    _one_of(setup.quant, QUANTS, "quant")
    _one_of(setup.attention, ATTENTIONS, "attention")
    _one_of(setup.sharding, SHARDINGS, "sharding")
    _one_of(setup.loss, LOSSES, "loss")
    _one_of(setup.master, MASTERS, "master")
    _whole(setup.batch, "batch", 65_536)
    _whole(setup.seq_len, "seq_len", 16_777_216)
    _whole(setup.gpus, "gpus", MAX_GPUS)
    _whole(setup.accumulation, "accumulation", 1_000_000)
    if setup.tokens > MAX_TOKENS:
        raise InputError(
            f"batch × seq_len is {setup.tokens:,} tokens",
            "batch",
            f"At most {MAX_TOKENS:,} per GPU are estimated.",
        )
    if setup.gpus > 1 and setup.sharding == "none":
        raise InputError(
            f"{setup.gpus} GPUs with sharding none",
            "sharding",
            "Use ddp for a copy on each GPU, or zero1, zero2, zero3, fsdp to share.",
        )
    return setup


def _one_of(value: str, allowed: Iterable[str], field: str) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise unknown(str(value), allowed, field)


def _whole(value: int, field: str, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InputError(f"{value} is not allowed", field, f"Use a whole number from 1 to {most:,}.")
