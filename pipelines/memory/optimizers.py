"""What an optimizer remembers of every parameter, in bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# bitsandbytes: 8-bit states in blocks of 256 with an fp32 absmax each; tensors below 4,096 numbers stay in
# 32 bits (bitsandbytes.optim.optimizer, `min_8bit_size`), and so do embeddings, which transformers' Trainer
# registers so.
_BLOCK, _SMALL = 256, 4_096
TITLES = {
    "adamw": "AdamW",
    "adamw_8bit": "AdamW, 8-bit states",
    "paged_adamw_8bit": "AdamW, 8-bit, paged",
    "adafactor": "Adafactor",
    "sgd": "SGD without momentum",
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A trainable tensor: its shape, how many there are, and whether it is an embedding matrix."""

    shape: tuple[int, ...]
    count: int
    embedding: bool = False

    @property
    def size(self) -> int:
        """Numbers in one tensor."""
        size = 1
        for part in self.shape:
            size *= part
        return size


def state_bytes(tensors: Iterable[Tensor], optimizer: str, state_width: int) -> int:
    """Bytes of the optimizer's states on the GPU.

    state_width: of one AdamW state; PyTorch keeps states in the dtype of the parameters (2 for bf16, 4 for
    fp32). AdamW (https://arxiv.org/abs/1711.05101) keeps two states per parameter. Paged states (QLoRA,
    section 3) live in
    memory that the driver moves to the host when the GPU needs the room: only the tensor being updated must
    be there. Adafactor (https://arxiv.org/abs/1804.04235) keeps one number per row and one per column, in
    fp32.
    """
    total = largest = 0
    for tensor in tensors:
        one = _one(tensor, optimizer, state_width)
        total += one * tensor.count
        largest = max(largest, one)
    return largest if optimizer == "paged_adamw_8bit" else total


def state_formula(optimizer: str, state_width: int) -> str:
    """The rule in words."""
    return {
        "adamw": f"2 states × {state_width} bytes per trainable parameter",
        "adamw_8bit": "2 states × (1 byte + 4/256 for the block's scale); embeddings and small tensors 2 × 4 bytes",
        "paged_adamw_8bit": "8-bit states live in paged memory; only the tensor being updated must be on the GPU",
        "adafactor": "4 bytes per row and per column of each matrix",
        "sgd": "no state",
    }[optimizer]


def _one(tensor: Tensor, optimizer: str, state_width: int) -> int:
    if optimizer == "sgd":
        return 0
    if optimizer == "adamw":
        return 2 * state_width * tensor.size
    if optimizer == "adafactor":
        if len(tensor.shape) < 2:
            return 4 * tensor.size
        stack = tensor.size // (tensor.shape[-1] * tensor.shape[-2])
        return 4 * stack * (tensor.shape[-1] + tensor.shape[-2])
    if tensor.embedding or tensor.size < _SMALL:
        return 8 * tensor.size
    return 2 * (tensor.size + 4 * -(-tensor.size // _BLOCK))
