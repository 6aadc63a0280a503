"""Token by token: one request as a stream, or many as a batch. Knows tokens and logits, no prompts and no names.

Every forward pass is one turn of the model (see `Lease.active`), so requests for a base and for its adapters may
run side by side. Greedy decoding gives the tokens that `model.generate(do_sample=False)` gives.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError
from pipelines.models.lease import Lease, LeaseGroup

if TYPE_CHECKING:
    import torch

ALTERNATIVES = 10
_CONTEXT = 6  # tokens of the prompt that are decoded along, for tokenizers that drop a leading space


@dataclass(frozen=True, slots=True)
class TokenProbability:
    """A token that could come next. `token`: its text; bytes that are no whole character show as �."""

    token: str
    id: int
    probability: float


@dataclass(frozen=True, slots=True)
class GeneratedToken:
    """A token that was generated.

    text:         what it added to the text; empty while a character is incomplete; for a special token its name
    probability:  the model's own, at temperature 1, from 0 to 1
    alternatives: the most probable tokens in its place, most probable first; it need not be among them
    """

    id: int
    text: str
    probability: float
    alternatives: tuple[TokenProbability, ...]
    special: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One request of a batch: generate after `ids`, until a token of `stops` or `max_new_tokens`."""

    lease: Lease
    ids: Sequence[int]
    stops: frozenset[int]
    max_new_tokens: int
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Chosen:
    """The next token of row `row`, and the logits (V,), float32 on the CPU, that it was chosen from.

    error: why there is none; `token` is -1 then, and the row has ended
    """

    row: int
    token: int
    logits: torch.Tensor
    error: InputError | None = None


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
    """Generate after `ids`: yields each token with the logits (V,), float32 on the CPU, that it was chosen from.

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
        token = _choose(logits, temperature, generator)
        yield token, logits
        if token in stops:
            return
        step = torch.tensor([[token]], device=lease.device)


def most_probable(logits: torch.Tensor, k: int, tokenizer: Any, texts: dict[int, str]) -> list[TokenProbability]:
    """The k most probable tokens of logits (V,). `texts` keeps the texts that were decoded already."""
    probabilities, ids = logits.softmax(-1).topk(min(k, logits.shape[-1]))
    found = []
    for token, probability in zip(ids.tolist(), probabilities.tolist(), strict=True):
        if token not in texts:
            texts[token] = tokenizer.decode([token], clean_up_tokenization_spaces=False)
        found.append(TokenProbability(texts[token], token, probability))
    return found


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
    """Answer many prompts, left-padded, `batch_size` at a time; the new ids of each, stop token included.

    Prompts of like length share a batch; the answers come in the order of the prompts.
    cancel:   looked at between steps; what is there by then is returned
    progress: called with prompts done and prompts in all, after each batch
    """
    answers: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    for start in range(0, len(order), batch_size):
        if cancel is not None and cancel.is_set():
            break
        rows = order[start : start + batch_size]
        asked = [Row(lease, prompts[index], lease.eos_ids, max_new_tokens, temperature, seed + index) for index in rows]
        for step in stream_rows(asked):
            for got in step:
                if got.error is not None:
                    raise got.error
                answers[rows[got.row]].append(got.token)
            if cancel is not None and cancel.is_set():
                break
        if progress is not None:
            progress(start + len(rows), len(order))
    return answers


def stream_rows(rows: Sequence[Row]) -> Iterator[list[Chosen]]:
    """Generate for all rows at once, one forward pass a step; yields what each row that still goes on has got.

    The rows' leases share one model (see `LeaseGroup`). Each row gets the tokens that `stream` gives it alone, as far
    as rounding lets it: sums of another shape round otherwise. In float32 that moves logits by some 1e-5; in bfloat16
    by some 1e-1, where two tokens that are nearly as probable can change places.
    A row ends as in `stream`; one whose model computes no number ends with an error, and the others go on.
    """
    import torch
    from transformers import DynamicCache

    # Rows without an adapter come first, as a mixed pass wants them.
    alive = sorted(range(len(rows)), key=lambda place: rows[place].lease.adapter_name is not None)
    alive = [place for place in alive if _room_of(rows[place]) > 0]
    if not alive:
        return
    group, lease = LeaseGroup([rows[place].lease for place in alive]), rows[0].lease
    left = {place: _room_of(rows[place]) for place in alive}
    generators = {place: torch.Generator().manual_seed(rows[place].seed) for place in alive}
    width = max(len(rows[place].ids) for place in alive)
    padding = torch.tensor([width - len(rows[place].ids) for place in alive])
    # The padding id is arbitrary: the mask hides it.
    padded = [[0] * (width - len(rows[place].ids)) + list(rows[place].ids) for place in alive]
    ids = torch.tensor(padded, device=lease.device)
    mask = (torch.arange(width)[None, :] >= padding[:, None]).long().to(lease.device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = DynamicCache(config=lease.model.config)
    while True:
        with group.active() as model:
            logits = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            logits = logits.float().cpu()
        step = [_chosen(rows[place], place, row, generators[place]) for place, row in zip(alive, logits, strict=True)]
        yield step
        for place in alive:
            left[place] -= 1
        keep = [
            row
            for row, got in enumerate(step)
            if got.error is None and got.token not in rows[got.row].stops and left[got.row]
        ]
        if not keep:
            return
        if len(keep) < len(alive):  # rows that stopped leave the batch: they would be computed for nothing
            index = torch.tensor(keep, device=lease.device)
            cache.batch_select_indices(index)
            mask, positions = mask[index], positions[index]
            alive = [alive[row] for row in keep]
            group.keep(keep)
        ids = torch.tensor([[step[row].token] for row in keep], device=lease.device)
        mask = torch.cat([mask, mask.new_ones((len(keep), 1))], dim=-1)
        positions = positions[:, -1:] + 1


def _room_of(row: Row) -> int:
    return min(row.max_new_tokens, row.lease.context_length - len(row.ids))


def _chosen(row: Row, place: int, logits: torch.Tensor, generator: torch.Generator) -> Chosen:
    try:
        return Chosen(place, _choose(logits, row.temperature, generator), logits)
    except InputError as error:
        return Chosen(place, -1, logits, error)


def _choose(logits: torch.Tensor, temperature: float, generator: torch.Generator) -> int:
    """A token from logits (V,) on the CPU."""
    import torch

    if temperature == 0:
        token = int(logits.argmax())
        # argmax calls NaN the largest number there is.
        if not torch.isfinite(logits[token]):
            raise _no_number()
        return token
    probabilities = (logits / temperature).softmax(-1)
    if not torch.isfinite(probabilities[0]):
        raise _no_number()
    return int(torch.multinomial(probabilities, 1, generator=generator))


def _no_number() -> InputError:
    return InputError("it computed values that are not numbers", "model", "Its weights are broken; choose another.")
