"""The LoRA layer of the chapter, as a torch module: as it is listed, and with the one line that repairs it.

Listed, A and B both start at random, so the layer is another layer before any training. The paper (Hu et al. 2021,
https://arxiv.org/abs/2106.09685, section 4.1) starts B at zero: B A = 0 at step 0, while B still gets a gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from pipelines.models import ModelManager

PROMPT = "The capital of France is"
CONTINUATION = " Paris."
SEED = 0


class LoRALinear(nn.Module):
    """W x + (alpha / r) · B A x around a frozen linear layer; B is out × r, A is r × in.

    std: of the numbers that B starts from; A always starts at random. 0 is the repair.
    """

    def __init__(self, linear: nn.Linear, r: int, alpha: float, std: float) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        dtype = linear.weight.dtype
        self.A = nn.Parameter(torch.randn(r, linear.in_features, dtype=dtype) / math.sqrt(linear.in_features))
        self.B = nn.Parameter(torch.randn(linear.out_features, r, dtype=dtype) * std)
        self.scaling = alpha / r

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in) to (…, out)."""
        added: torch.Tensor = (x @ self.A.T @ self.B.T) * self.scaling
        return self.linear(x) + added  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class FirstStep:
    """The model with such layers in place of its linear ones, before any training.

    difference: largest difference of a logit from the untouched model's, over the tokens of PROMPT
    next_token: the most probable one after PROMPT
    loss:       mean loss of the tokens of CONTINUATION after PROMPT
    gradient_a, gradient_b: norm of that loss's gradient in all A and in all B; 0 for the untouched model
    """

    name: str
    difference: float
    next_token: str
    loss: float
    gradient_a: float = 0.0
    gradient_b: float = 0.0


def first_steps(manager: ModelManager, r: int, alpha: float) -> tuple[FirstStep, ...]:
    """The base alone, then with the layer listed (at two scales of B) and repaired. Seconds for a small model.

    The model is a copy of its own, read within the manager's budget. Raises InputError when it cannot be had.
    """
    kinds = (
        ("as listed, B from N(0, 1)", 1.0),
        ("as listed, B from N(0, 0.01²)", 0.01),
        ("repaired: B = 0", 0.0),
    )
    with manager.fresh("base") as lease:
        model, tokenizer = lease.model, lease.tokenizer
        prompt = tokenizer(PROMPT, return_tensors="pt")["input_ids"].to(model.device)
        whole = tokenizer(PROMPT + CONTINUATION, return_tensors="pt")["input_ids"].to(model.device)
        model.requires_grad_(False)
        start = prompt.shape[1]
        with torch.no_grad():
            untouched = model(prompt).logits[0]
            loss = float(_loss(model, whole, start))
        steps = [FirstStep("the base model", 0.0, _top(untouched, tokenizer), loss)]
        for name, std in kinds:
            layers = _wrap(model, r, alpha, std)
            steps.append(_first_step(name, model, layers, tokenizer, (prompt, whole), untouched))
            _unwrap(model)
        return tuple(steps)


def _first_step(
    name: str,
    model: nn.Module,
    layers: list[LoRALinear],
    tokenizer: Any,
    texts: tuple[torch.Tensor, torch.Tensor],
    untouched: torch.Tensor,
) -> FirstStep:
    prompt, whole = texts
    with torch.no_grad():
        logits = model(prompt).logits[0]
    loss = _loss(model, whole, prompt.shape[1])
    loss.backward()  # type: ignore[no-untyped-call]
    norms = [
        math.sqrt(sum(float(part.grad.double().square().sum()) for part in parts if part.grad is not None))
        for parts in ([layer.A for layer in layers], [layer.B for layer in layers])
    ]
    difference = float((logits - untouched).abs().max())
    return FirstStep(name, difference, _top(logits, tokenizer), float(loss.detach()), norms[0], norms[1])


def _wrap(model: nn.Module, r: int, alpha: float, std: float) -> list[LoRALinear]:
    """Put the layer around every linear layer but the output head, as all-linear does."""
    torch.manual_seed(SEED)
    layers = []
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and name != "lm_head" and not isinstance(parent, LoRALinear):
                layer = LoRALinear(child, r, alpha, std).to(child.weight)
                setattr(parent, name, layer)
                layers.append(layer)
    return layers


def _unwrap(model: nn.Module) -> None:
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LoRALinear):
                setattr(parent, name, child.linear)


def _loss(model: nn.Module, ids: torch.Tensor, start: int) -> torch.Tensor:
    """Mean cross-entropy of the tokens from `start` on."""
    logits = model(ids).logits[0, start - 1 : -1].float()
    return nn.functional.cross_entropy(logits, ids[0, start:])


def _top(logits: torch.Tensor, tokenizer: Any) -> str:
    return str(tokenizer.decode([int(logits[-1].argmax())]))
