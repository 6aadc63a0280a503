"""What a decoder layer keeps for its backward pass, per token, from the shapes of the architecture.

Counted operation by operation as autograd saves them in transformers 5 (a test compares with
`torch.autograd.graph.saved_tensors_hooks`); the idea of counting by hand is Korthikanti et al. 2022,
https://arxiv.org/abs/2205.05198. With h hidden, q and k the width of all query and key heads, f the MLP, and
c bytes per number, a Llama layer in full fine-tuning keeps 8h + 2c·4h + 2c(q + k) + 4c·f.

Not covered: dropout masks, sliding windows (kernels save the same tensors), convolutional or recurrent
    layers.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.architecture import Architecture
from pipelines.lora import Resolution
from pipelines.memory.setup import MemorySetup

_FP32 = 4
TILE_WORDS = 32_768  # trl.trainer.utils._CHUNKED_LOGPROB_CHUNK_SIZE
TILE_TOKENS = 4_096  # trl.kernels.chunked_logprob.TOKEN_CHUNK_SIZE


@dataclass(frozen=True, slots=True)
class LayerBytes:
    """Bytes that one layer keeps, by part: the first four per token, `copies` once however many tokens there
    are.

    norms:     inputs of the normalisations, which compute in fp32
    attention: queries, keys, values, output and, with eager attention, the probabilities
    mlp:       gate, up and their product; of the chosen experts in a mixture
    adapter:   inputs that LoRA's A needs, one copy per adapted module, and the r numbers it makes of them
    copies:    PEFT adapts stacked experts by building W + BA in full, and autograd keeps it
    """

    norms: float
    attention: float
    mlp: float
    adapter: float
    copies: float

    def total(self, tokens: int) -> float:
        """Bytes for so many tokens."""
        return (self.norms + self.attention + self.mlp + self.adapter) * tokens + self.copies


def layer_bytes(model: Architecture, setup: MemorySetup, resolution: Resolution | None) -> LayerBytes:
    """What a layer keeps. `resolution`: the adapter's targets; None for full fine-tuning."""
    full = resolution is None
    norms = _norm_bytes(model, setup, full)
    mlp = _mlp_bytes(model, setup, full)
    adapter, copies = (0.0, 0.0) if resolution is None else _adapter_bytes(resolution, setup)
    if setup.compiled and not model.dimensions.experts:
        # Inductor keeps the inputs of the norms and the MLP's gate and up, and recomputes what lies between;
        # without an adapter also what the trainable matrices multiply (calibrated on
        # torchtune-8b-lora-no-checkpointing).
        c, size = setup.compute_bytes, model.dimensions
        norms, adapter = size.norms * c * size.hidden * (2 if full else 1), 0.0
        mlp = c * size.intermediate * (3 if full else 2)
    return LayerBytes(norms, _attention_bytes(model, setup, full), mlp, adapter, copies)


def _norm_bytes(model: Architecture, setup: MemorySetup, full: bool) -> float:
    """A norm keeps its input in fp32; a trainable one also what it scales, and its output feeds trainable
    layers.
    """
    size, c, h = model.dimensions, setup.compute_bytes, model.dimensions.hidden
    names = {weight.name.rpartition("{}.")[2] for weight in model.weights}
    if "ln_1.bias" in names:  # GPT-2's fused LayerNorm computes in place of the model's own dtype
        return size.norms * (c * h * (2 if full else 1) + 2 * c)
    # Gemma and OLMo scale in fp32, Llama in the model's dtype.
    scaled = _FP32 if model.model_type.startswith(("gemma", "olmo")) else c
    outputs = 2 * c * h if full else 0  # the inputs of attention and MLP
    total = size.norms * (_FP32 * h + _FP32 + (scaled * h if full else 0)) + outputs
    if "self_attn.q_norm.weight" in names:
        width = (size.heads + size.kv_heads) * size.head_dim
        # OLMo normalises all heads at once, the others each by itself.
        rows = 2 if model.model_type.startswith("olmo") else size.heads + size.kv_heads
        total += _FP32 * width + _FP32 * rows + (scaled * width if full else 0)
    return total


def _attention_bytes(model: Architecture, setup: MemorySetup, full: bool) -> float:
    size, c = model.dimensions, setup.compute_bytes
    q, k = size.heads * size.head_dim, size.kv_heads * size.head_dim
    names = {weight.name.rpartition("{}.")[2] for weight in model.weights}
    if setup.attention == "eager":  # keys and values repeated, softmax in fp32 and its cast; output as o_proj's input
        # GPT-2 keeps the softmax in the model's dtype; Gemma 2 caps the scores, which keeps them once more.
        width = c if "attn.c_attn.weight" in names else _FP32 + c
        width += c if model.model_type == "gemma2" else 0
        probabilities = size.heads * setup.seq_len * width
        return c * (q + 2 * q + (q if full else 0)) + probabilities
    keys = q if setup.kv_expanded else k
    total = c * (q + 2 * keys + q) + _FP32 * size.heads  # q, k, v, output, and the log-sum of each row
    if "self_attn.qkv_proj.weight" in names:
        total += c * (q + k)  # the values are a view that keeps the fused projection alive
    return total


def _mlp_bytes(model: Architecture, setup: MemorySetup, full: bool) -> float:
    size, c, f = model.dimensions, setup.compute_bytes, model.dimensions.intermediate
    if size.experts:
        return c * size.experts_per_token * (4 * f + 2 * size.hidden) + 2 * _FP32 * size.experts
    # Gate, its activation and up; GPT-2's GELU is written out and keeps four steps. The product is the input
    # of the last projection, which only a trainable one keeps; an adapter's own copy is counted with the
    # adapter.
    return c * f * ((3 if size.gated else 4) + (1 if full else 0))


def _adapter_bytes(resolution: Resolution, setup: MemorySetup) -> tuple[float, float]:
    """(per token, per layer): each adapted module keeps its input and A's output; adapted experts a whole
    copy.
    """
    c, per_token, copies = setup.compute_bytes, 0.0, 0.0
    for weight, factor in {(target.weight, target.rank_factor) for target in resolution.targets}:
        if "{}" not in weight.name:
            continue
        if len(weight.shape) == 3:
            copies += c * weight.size
        else:
            per_token += c * (weight.features[0] + factor * setup.r)
    return per_token, copies


def working_bytes(model: Architecture, setup: MemorySetup) -> float:
    """Gradients alive per token in the middle of one layer's backward pass: three of the MLP's width, and
    the residual.
    """
    size, c = model.dimensions, setup.compute_bytes
    width = size.intermediate * (size.experts_per_token or 1)
    return c * ((3 if size.gated else 2) * width + 2 * size.hidden)


def last_norm_bytes(model: Architecture, setup: MemorySetup) -> float:
    """What the norm before the output head keeps per token: its input in fp32, and the head's input."""
    return (_FP32 + setup.compute_bytes) * model.dimensions.hidden


def checkpoint_bytes(model: Architecture, setup: MemorySetup) -> float:
    """The input that gradient checkpointing keeps of each layer, per token and layer."""
    return setup.compute_bytes * model.dimensions.hidden


def logit_bytes(model: Architecture, setup: MemorySetup) -> tuple[float, str]:
    """Bytes of the logits when the loss is at its largest, for all tokens, and the formula in words.

    "full": transformers' ForCausalLMLoss makes fp32 logits; in the backward pass three fp32 tensors of that
    size are
    alive: the log-probabilities, the gradient of the loss and the gradient of the logits.
    "chunked": the logits themselves, in the model's dtype. "fused": one tile of 32,768 words, and the fp32
    gradient of the last hidden state (trl.kernels.chunked_logprob).
    """
    tokens, vocab, c = setup.tokens, model.dimensions.vocab, setup.compute_bytes
    if setup.loss == "full":
        copies = setup.logit_copies
        return copies * _FP32 * tokens * vocab, f"{copies} × 4 bytes × {tokens:,} tokens × {vocab:,} words"
    if setup.loss == "chunked":
        return c * tokens * vocab, f"{c} bytes × {tokens:,} tokens × {vocab:,} words"
    tile = min(tokens, TILE_TOKENS) * min(vocab, TILE_WORDS)
    hidden = _FP32 * tokens * model.dimensions.hidden
    return c * tile + hidden, f"one tile of {c} bytes × {tile:,}, and the gradient of the last layer in fp32"
