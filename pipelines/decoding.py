"""Tokens and their texts, one request by itself as a stream, many prompts at once. Knows no prompts and no names."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.models.engine import Request
from pipelines.models.engine.choosing import choose
from pipelines.models.lease import Lease

if TYPE_CHECKING:
    import torch

_LOOK = 0.1  # seconds between two looks at a cancel event
_CONTEXT = 6  # tokens of the prompt that are decoded along, for tokenizers that drop a leading space


class TextStream:
    """Text from tokens that arrive one by one. Never gives out half a character: UTF-8 needs up to four bytes,
    and in byte-level BPE each may be a token of its own."""

    def __init__(self, tokenizer: Any, prompt: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._ids = list(prompt[-_CONTEXT:])
        self._start, self._given = 0, len(self._ids)  # ids before `given` are out; `start` anchors the next piece
        self._before = self._decode(self._ids)

    def push(self, token: int) -> str:
        """The text that is complete now; often of one token, sometimes empty."""
        self._ids.append(token)
        text = self._decode(self._ids[self._start :])
        if text.endswith("\ufffd") or len(text) <= len(self._before):
            return ""
        return self._give(text)

    def flush(self) -> str:
        """What is left at the end, with � for bytes that never became a character."""
        return self._give(self._decode(self._ids[self._start :]))

    def _give(self, text: str) -> str:
        piece = text[len(self._before) :]
        self._start, self._given = self._given, len(self._ids)
        self._before = self._decode(self._ids[self._start : self._given])
        return piece

    def _decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def stream(
    lease: Lease,
    ids: Sequence[int],
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
    stops: frozenset[int] | None = None,
) -> Iterator[tuple[int, torch.Tensor]]:
    """Generate after `ids`, past the engine: each token with the logits (V,), float32 on the CPU, it was chosen from.

    Every pass is one turn of the model (see `Lease.active`), as transformers computes it: for a copy that nobody
    shares, and for what the engine is compared with. Greedy, it gives the tokens of `model.generate(do_sample=False)`.

    Ends after a token of `stops` (by default `lease.eos_ids`), which is yielded too, after `max_new_tokens`, or at
    the end of the context. Raises InputError when the model computes no number.
    """
    import torch
    from transformers import DynamicCache

    cache = DynamicCache(config=lease.model.config)
    generator = torch.Generator().manual_seed(seed)
    stops = lease.eos_ids if stops is None else stops
    step = torch.tensor([list(ids)], device=lease.device)
    for _ in range(min(max_new_tokens, lease.context_length - len(ids))):
        with lease.active() as model:
            output = model(input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1)
            logits = output.logits[0, -1].float().cpu()
        token = choose(logits, temperature, generator)
        yield token, logits
        if token in stops:
            return
        step = torch.tensor([[token]], device=lease.device)


def generate_batch(
    lease: Lease,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    seed: int = 0,
    batch_size: int = 64,
    cancel: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[int]]:
    """Answer many prompts, `batch_size` at a time; the new ids of each, stop token included.

    Prompts of like length go together; the answers come in the order of the prompts.
    cancel:   looked at ten times a second; what is there by then is returned
    progress: called with prompts done and prompts in all, after each batch
    """
    answers: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    for start in range(0, len(order), batch_size):
        if cancel is not None and cancel.is_set():
            break
        rows = order[start : start + batch_size]
        asked = [
            (lease, Request(prompts[index], lease.eos_ids, max_new_tokens, temperature, seed + index)) for index in rows
        ]
        tickets = lease.engine.submit(asked)
        try:
            for index, ticket in zip(rows, tickets, strict=True):
                while not ticket.done and not (cancel is not None and cancel.is_set()):
                    answers[index] += [token.id for token in ticket.take(_LOOK)]
        finally:
            for ticket in tickets:
                ticket.close()
        if progress is not None:
            progress(start + len(rows), len(order))
    return answers
