"""One training loop for both stages of the recipe: pretraining on packed text, SFT on packed conversations.

Rows are (input_ids, labels) of equal length L; the loss is next-token cross-entropy over labels that are not −100.
bf16 autocast over fp32 weights; on a GPU the same code runs there. A checkpoint holds weights, optimizer, step and
seconds, so an interrupted run goes on with the batch that would have come next.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import LlamaForCausalLM

IGNORE_INDEX = -100


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast. `learning_rate` is the peak; it warms up linearly and falls by a cosine to a tenth."""

    steps: int
    batch: int
    learning_rate: float
    warmup: int = 100
    weight_decay: float = 0.1

    def rate(self, step: int) -> float:
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


def new_model(vocabulary: int, pad: int, bos: int, eos: int, seed: int) -> LlamaForCausalLM:
    """A random Llama of 4.26 M parameters: 4 layers of width 256, 4 heads, gated MLP of 704, tied embeddings."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=pad,
        bos_token_id=bos,
        eos_token_id=eos,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def train(
    model: LlamaForCausalLM,
    rows: tuple[np.ndarray, np.ndarray],
    schedule: Schedule,
    seed: int,
    checkpoint: Path,
    report: Callable[[str], None],
    compiled: bool = False,
    separator: int | None = None,
) -> float:
    """Train in place and return the seconds it took, those before an interruption included.

    `rows`: input_ids and labels, both [N, L] integers.

    `separator`: id of a token that begins a new document; what stands before it in the row is then out of sight.
    `compiled` lets torch.compile fuse the step, a quarter faster on a CPU; it needs a C++ compiler.
    """
    import torch
    from torch.nn.functional import cross_entropy

    def forward(ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with torch.autocast(ids.device.type, dtype=torch.bfloat16):
            logits = model(input_ids=ids, position_ids=_positions(ids, separator), use_cache=False).logits
        return cross_entropy(logits[:, :-1].flatten(0, 1).float(), targets[:, 1:].flatten(), ignore_index=IGNORE_INDEX)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).train()
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=schedule.learning_rate,
        betas=(0.9, 0.95),
        weight_decay=schedule.weight_decay,
        fused=True,
    )
    first, earlier = _restore(checkpoint, model, optimizer)
    if compiled:
        forward = torch.compile(forward)
    inputs, labels = (torch.from_numpy(part) for part in rows)
    began = time.monotonic()
    for step in range(first, schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        chosen = _batch(len(inputs), schedule.batch, step, seed)
        ids, targets = inputs[chosen].long().to(device), labels[chosen].long().to(device)
        loss = forward(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % 50 == 0 or step + 1 == schedule.steps:
            rate = (step + 1 - first) * ids.numel() / (time.monotonic() - began)
            report(f"step {step + 1}/{schedule.steps}  loss {loss.item():.3f}  {rate:,.0f} tokens/s")
        if (step + 1) % 250 == 0 or step + 1 == schedule.steps:
            _save(checkpoint, model, optimizer, step + 1, earlier + time.monotonic() - began)
    model.eval().cpu()
    return earlier + time.monotonic() - began


def _positions(ids: torch.Tensor, separator: int | None) -> torch.Tensor | None:
    """Positions that restart at every separator, [B, L]; transformers keeps attention within each stretch."""
    if separator is None:
        return None
    import torch

    places = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    return places - torch.where(ids == separator, places, 0).cummax(dim=1).values


def _batch(rows: int, batch: int, step: int, seed: int) -> list[int]:
    """Row numbers of one step: every epoch a fresh permutation, so that a resumed run draws the same batches."""
    import numpy as np

    per_epoch = max(1, rows // batch)
    epoch, position = divmod(step, per_epoch)
    order = np.random.default_rng([seed, epoch]).permutation(rows)
    return order[position * batch : (position + 1) * batch].tolist()


def _save(path: Path, model: LlamaForCausalLM, optimizer: object, step: int, seconds: float) -> None:
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "seconds": seconds}  # type: ignore[attr-defined]
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def _restore(path: Path, model: LlamaForCausalLM, optimizer: object) -> tuple[int, float]:
    import torch

    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])  # type: ignore[attr-defined]
    return int(state["step"]), float(state["seconds"])
