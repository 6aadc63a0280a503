"""How this machine computes a run. Nothing here changes a loss by more than its rounding; it changes the time.

TRL's defaults are for large models on large GPUs. On a CPU four of them are most of the time of a step: padding, which
is multiplied like words; the output head over every position, four fifths of which have no label; checkpointing, which
computes everything twice to save memory that is there; and bf16 on processors without bf16 units, which emulate it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError
from pipelines.finetune.config import SMALL_MODEL, FinetuneConfig
from pipelines.models.device import free_memory

if TYPE_CHECKING:
    import torch

# Families whose attention keeps the conversations of a packed row apart by their position ids: tested one by one.
PACKED_TYPES = frozenset(
    "llama mistral qwen2 qwen3 gemma gemma3_text olmo2 smollm3 granite phi3 cohere starcoder2 helium".split()
)
CHECKPOINT_ABOVE = 0.5  # of the free memory; the rest is for the page, the manager's models and the estimate's error
KEPT_BYTES = 2**27  # of the logits of one batch; with their gradients three times as much
_ATTENTION = "sdpa_by_conversation"


def use_threads(parameters: int) -> None:
    """Let torch compute on all cores; for a small model on half of them, unless OMP_NUM_THREADS says how many.

    The threads of a small model mostly wait for each other, and the longer the busier the cores are with something
    else, as with the browser that draws the curve. A default run of the embedded pair on two cores, in seconds: alone
    21 with one thread and 16 with two, watched in Chromium on the same cores 22 and 26.
    """
    if "OMP_NUM_THREADS" in os.environ or not hasattr(os, "sched_getaffinity"):
        return
    import torch

    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(max(1, cores // 2) if parameters < SMALL_MODEL else cores)


def computing_arguments(model: Any, config: FinetuneConfig, parameters: int, longest: int) -> dict[str, Any]:
    """Keyword arguments of `trl.SFTConfig` that say how a step is computed. `longest`: tokens of the longest row.

    padding_free:           the conversations of a batch in one row, for large models whose attention bears it
    gradient_checkpointing: for large models where the memory would not suffice without
    """
    device, dtype = next((one.device.type, one.dtype) for one in model.parameters() if one.is_floating_point())
    single = "fp32" if dtype.itemsize == 4 else "bf16"
    described = model.config.to_json_string()
    arguments: dict[str, Any] = {
        "gradient_checkpointing": needs_checkpoints(described, config, parameters, single, longest, device)
    }
    alone = config.objective == "sft" and not config.packing
    if alone and parameters >= SMALL_MODEL and model.config.model_type in PACKED_TYPES:
        # TRL wants to hear that nothing is left to cut: the rows are within max_length already.
        arguments |= {"padding_free": True, "max_length": None}
    return arguments


def needs_checkpoints(
    described: str, config: FinetuneConfig, parameters: int, dtype: str, longest: int, device: str
) -> bool:
    """Whether a step that keeps all activations would pass its share of the free memory, by the estimator.

    A small model's never does. described: a config.json, or a model's name; dtype: fp32 or bf16; longest: tokens of
    the longest row
    """
    if parameters < SMALL_MODEL:
        return False
    from pipelines.memory import MemorySetup, estimate

    setup = MemorySetup(
        model=described,
        method=config.method,
        r=config.r,
        targets=config.target_modules,
        dtype=dtype,
        batch=config.batch_size or 1,
        seq_len=longest,
        gradient_checkpointing=False,
        loss="fused",
    )
    try:
        needed = estimate(setup)
    except InputError:  # a model that the estimator cannot read: keep to what is safe
        return True
    return needed.total > CHECKPOINT_ABOVE * free_memory(device)


@contextlib.contextmanager
def scoring_supervised_positions_only() -> Iterator[None]:
    """Let TRL's fused output head leave out unlabelled positions on every device, and keep the few logits on a CPU.

    TRL 1.16 does the first where it has Triton, and elsewhere scores each position and masks afterwards, for the sake
    of accelerators that compile per shape. On a CPU that is four fifths of the head's work for nothing. And it computes
    the logits in chunks, once more in the backward pass, to save memory. The loss is the same; tests compare them.
    """
    from trl.trainer import utils

    original = utils._use_triton, utils._ChunkedLogProbFunction
    utils._use_triton = lambda device: device.type != "hpu"
    utils._ChunkedLogProbFunction = KeptLogits(utils._ChunkedLogProbFunction)
    try:
        yield
    finally:
        utils._use_triton, utils._ChunkedLogProbFunction = original


class KeptLogits:
    """TRL's log-probabilities of N tokens, from logits that are kept for the backward pass while they are few.

    chunked: TRL's own function, for everything else: other devices, scaled or capped logits, many of them
    """

    def __init__(self, chunked: Any) -> None:
        self._chunked = chunked

    def apply(
        self,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        temperature: float,
        chunk_size: int,
        softcap: float | None,
        scale: float,
        outputs: tuple[str, ...],
    ) -> tuple[torch.Tensor | None, ...]:
        """hidden: (N, width), weight: (vocabulary, width), targets: (N,). Returns log-probability, entropy, and whether
        the target is the likeliest, each (N,), in TRL's places."""
        import torch

        plain = hidden.device.type == "cpu" and temperature == scale == 1.0 and softcap is None
        known = set(outputs) <= {"log_probs", "entropy", "is_top1"}
        if not (plain and known and len(hidden) * len(weight) * 4 <= KEPT_BYTES):
            return self._chunked.apply(hidden, weight, bias, targets, temperature, chunk_size, softcap, scale, outputs)
        logits = torch.nn.functional.linear(hidden, weight, bias).float()
        probable = torch.nn.functional.log_softmax(logits, dim=-1)
        own = -torch.nn.functional.nll_loss(probable, targets, reduction="none")
        with torch.no_grad():
            entropy = -(probable.exp() * probable).sum(-1) if "entropy" in outputs else None
            first = probable.argmax(-1) == targets if "is_top1" in outputs else None
        return own, entropy, None, None, first


def attend_by_conversation(model: Any) -> None:
    """Let each conversation of a packed row attend within itself, instead of under a mask over the whole row.

    Under a mask, T tokens cost T² products, nearly all of them between different conversations; torch's CPU kernel
    computes them all. Four conversations of 150 tokens take a quarter. Sliding windows need their mask and keep it.
    """
    plain = model.config._attn_implementation == "sdpa" and not getattr(model.config, "sliding_window", None)
    if model.device.type != "cpu" or not plain:
        return
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(_ATTENTION, sdpa_by_conversation)
    AttentionMaskInterface.register(_ATTENTION, sdpa_mask)
    model.set_attn_implementation(_ATTENTION)


def sdpa_by_conversation(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    position_ids: torch.Tensor | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' own sdpa attention, called once for each conversation of a packed row.

    query: (1, heads, T, width); a row is packed when its `position_ids`, (1, T), begin again from 0. Returns
    (1, T, heads, width). Any other batch goes through as it is.
    """
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    begins = _begins(position_ids, query, key)
    if len(begins) < 2:
        return sdpa_attention_forward(module, query, key, value, attention_mask, position_ids=position_ids, **options)
    parts = []
    for begin, end in zip(begins, [*begins[1:], query.shape[2]], strict=True):
        # torch's kernel for a CPU takes twice as long in bf16, on a processor with bf16 units too: 3.6 and 1.7 ms for
        # nine heads over 131 tokens, forth and back. Autocast would make bf16 of float32 again.
        own = [states[:, :, begin:end].float() for states in (query, key, value)]
        with torch.autocast("cpu", enabled=False):
            parts.append(sdpa_attention_forward(module, *own, None, **options)[0])
    return torch.cat(parts, dim=1).to(query.dtype), None


def _begins(position_ids: torch.Tensor | None, query: torch.Tensor, key: torch.Tensor) -> list[int]:
    """Where the conversations of a packed row begin; empty for what is no packed row."""
    if position_ids is None or len(query) != 1 or query.shape[2] != key.shape[2] or position_ids.shape[0] != 1:
        return []
    found = (position_ids[0] == 0).nonzero().flatten().tolist()
    return found if found[:1] == [0] else []
