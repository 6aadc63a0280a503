"""The next token of each row, from the logits of all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.errors import InputError
from pipelines.models.engine.request import Request, Token

if TYPE_CHECKING:
    import torch


def choose(logits: torch.Tensor, temperature: float, generator: torch.Generator) -> int:
    """A token from logits (V,) on the CPU. Raises InputError when they are not numbers."""
    import torch

    if temperature == 0:
        token = int(logits.argmax())
        # argmax calls NaN the largest number there is.
        if not torch.isfinite(logits[token]):
            raise no_number()
        return token
    probabilities = (logits / temperature).softmax(-1)
    if not torch.isfinite(probabilities[0]):
        raise no_number()
    return int(torch.multinomial(probabilities, 1, generator=generator))


def choose_all(
    logits: torch.Tensor, requests: Sequence[Request], generators: Sequence[torch.Generator], rows: int
) -> list[Token | InputError]:
    """A token for each row of logits (R, V), float32, as `choose` gives it; an error for a row of no numbers."""
    drawing = [row for row, request in enumerate(requests) if request.temperature > 0]
    largest, likeliest = logits.max(-1)  # NaN is the largest number there is
    ids: list[int] = likeliest.tolist()
    finite = [math.isfinite(value) for value in largest.tolist()]
    drawn = _drawn(logits, [requests[row].temperature for row in drawing], drawing, generators) if drawing else []
    for row, token in zip(drawing, drawn, strict=True):
        ids[row] = token
    chosen: list[Token | InputError] = [
        Token(token, rows=rows) if number else no_number() for token, number in zip(ids, finite, strict=True)
    ]
    return _noted(logits, requests, chosen)


def _drawn(
    logits: torch.Tensor, temperatures: Sequence[float], drawing: Sequence[int], generators: Sequence[torch.Generator]
) -> list[int]:
    """Tokens of the rows `drawing`, as `torch.multinomial` draws them: each row's noise from its own generator, the
    rest for all rows at once (of probabilities p, the largest p / e is drawn, e exponentially distributed)."""
    import torch

    rows = logits[torch.tensor(drawing, device=logits.device)].cpu()
    probabilities = (rows / torch.tensor(temperatures, dtype=torch.float32)[:, None]).softmax(-1)
    noise = torch.empty_like(probabilities)
    for place, row in enumerate(drawing):
        noise[place].exponential_(1, generator=generators[row])
    drawn: list[int] = (probabilities / noise).argmax(-1).tolist()
    return drawn


def _noted(
    logits: torch.Tensor, requests: Sequence[Request], chosen: list[Token | InputError]
) -> list[Token | InputError]:
    """The same, with probabilities for those who asked."""
    import torch

    asking = [row for row, request in enumerate(requests) if request.alternatives and isinstance(chosen[row], Token)]
    if not asking:
        return chosen
    count = min(max(requests[row].alternatives for row in asking), logits.shape[1])
    some = logits if len(asking) == len(logits) else logits[torch.tensor(asking, device=logits.device)]
    probabilities = some.softmax(-1)
    largest, ids = probabilities.topk(count)
    taken = torch.tensor([[chosen[row].id] for row in asking], device=logits.device)  # type: ignore[union-attr]
    own = probabilities.gather(1, taken)[:, 0].tolist()
    for row, probability, values, tokens in zip(asking, own, largest.tolist(), ids.tolist(), strict=True):
        token = chosen[row]
        wanted = requests[row].alternatives
        assert isinstance(token, Token)
        chosen[row] = Token(
            token.id, probability, tuple(zip(tokens[:wanted], values[:wanted], strict=True)), token.rows
        )
    return chosen


def no_number() -> InputError:
    """What a broken model is told to be."""
    return InputError("it computed values that are not numbers", "model", "Its weights are broken; choose another.")
