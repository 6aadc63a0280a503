"""Several models and one prompt: their answers side by side, the proof that the base is the base, and what merging
an adapter changes. Everything here is measured when it is asked, on the models in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.completion import Sampling, chat_ids
from pipelines.decoding import stream
from pipelines.errors import InputError
from pipelines.messages import Message
from pipelines.models import Lease, ModelManager
from pipelines.models.weights import stored_weights
from pipelines.together import Answer, Ask, answer_together

if TYPE_CHECKING:
    import torch

MAX_MODELS = 8
# A second copy is read from disk for the proof; above this it would take longer than anybody watches.
PROOF_BYTES = 2 * 2**30
_TIMED = 48  # tokens of a timing
_ROUNDS = 3  # timings; the fastest counts, as the others waited for something


@dataclass(frozen=True, slots=True)
class BaseProof:
    """What shows that the base column is the base.

    attached:           adapters that share its weights at that moment
    active:             those that took part in its pass; has to be empty
    largest_difference: of any logit to the same base read from disk just now; has to be 0
    logits:             how many were compared
    """

    attached: int
    active: tuple[str, ...]
    largest_difference: float
    logits: int
    seconds: float


@dataclass(frozen=True, slots=True)
class MergeReport:
    """An adapter kept beside its base, and merged into it. Bytes on disk; speeds of one stream, tokens per second.

    largest_difference: of any logit, merged against unmerged, in `dtype`
    rounded_difference: the same when the merged weights are stored in bfloat16, as checkpoints are
    largest_logit:      the scale of both
    same_tokens:        whether both write the same answer, greedy; `tokens` long
    """

    adapter_bytes: int
    merged_bytes: int
    unmerged_speed: float
    merged_speed: float
    largest_difference: float
    rounded_difference: float
    largest_logit: float
    same_tokens: bool
    tokens: int
    dtype: str
    seconds: float


def side_by_side(
    manager: ModelManager,
    prompt: str,
    models: Sequence[str],
    sampling: Sampling,
    cancel: threading.Event | None = None,
) -> Iterator[tuple[Answer, ...]]:
    """One prompt to several models; yields all columns whenever one has grown, the last time all of them ended.

    Models on one base answer in one batch; batches of different bases take turns.
    A base is given the bare text, every other model its chat template. A model that cannot answer says so in its
    column and the others go on. Raises InputError for a prompt or a sampling that no model takes.
    """
    if not 1 <= len(models) <= MAX_MODELS:
        raise InputError(f"{len(models)} models", "models", f"Choose from 1 to {MAX_MODELS}.")
    if not isinstance(prompt, str) or not prompt.strip():
        raise InputError("is empty", "prompt", "Write something for the models to answer.")
    sampling = sampling.checked()
    places: dict[str, list[int]] = {}
    columns: list[Answer] = []
    for place, name in enumerate(models):
        spec = manager.resolve(name)
        columns.append(Answer(name, spec.role != "base"))
        places.setdefault(spec.weights.key, []).append(place)
    running = {
        key: answer_together(
            manager, [Ask(models[place], prompt, columns[place].as_chat) for place in group], sampling, cancel
        )
        for key, group in places.items()
    }
    try:
        while running:
            for key in list(running):
                answers = next(running[key], None)
                if answers is None:
                    del running[key]
                    continue
                for place, answer in zip(places[key], answers, strict=True):
                    columns[place] = answer
                yield tuple(columns)
    finally:
        for batch in running.values():
            batch.close()  # type: ignore[attr-defined]


def prove_base(manager: ModelManager, prompt: str, name: str = "base") -> BaseProof:
    """Compare the resident base, adapters attached or not, with the same base read from disk now.

    Raises InputError when there is no room for a second copy, or it would take long.
    """
    begin = time.perf_counter()
    with manager.lease(name) as lease:
        if lease.weight_bytes > PROOF_BYTES:
            raise InputError(
                f"a second copy of {lease.spec.title} is too large to read for this", name, "Use a smaller pair."
            )
        ids = lease.tokenizer(prompt)["input_ids"][: lease.context_length]
        active = lease.active_adapters()
        resident = _logits(lease, ids)
        attached = lease.attached
        with manager.fresh(name) as copy:
            if copy.stamp != lease.stamp:
                raise InputError(
                    f"the files of {lease.spec.title} were replaced while it was in use", name, "Ask again."
                )
            difference = float((_logits(copy, ids) - resident).abs().max())
    return BaseProof(attached, active, difference, resident.numel(), time.perf_counter() - begin)


def measure_merge(manager: ModelManager, run: str, prompt: str) -> MergeReport:
    """Merge a run's adapter into a copy of its base, and measure both. Raises InputError for a run without one."""
    import torch

    begin = time.perf_counter()
    spec = manager.resolve(run)
    if spec.adapter is None:
        raise InputError(f"'{run}' has no adapter to merge", "run", "Choose a run that was trained with LoRA.")
    with manager.fresh(run) as copy:
        ids = chat_ids(copy, [Message("user", prompt)])
        answer = _greedy(copy, ids)
        sequence = [*ids, *answer]
        before, slow = _logits(copy, sequence), _speed(copy, ids)
        copy.merge()
        after, fast = _logits(copy, sequence), _speed(copy, ids)
        same = _greedy(copy, ids) == answer
        dtype = copy.model.dtype
        with torch.no_grad():
            for weight in copy.model.parameters():
                weight.copy_(weight.to(torch.bfloat16))
        rounded = _logits(copy, sequence)
        parameters = sum(weight.numel() for weight in copy.model.parameters())
    folder = spec.weights.folder
    return MergeReport(
        adapter_bytes=(spec.adapter / "adapter_model.safetensors").stat().st_size,
        merged_bytes=stored_weights(folder).bytes if folder else 2 * parameters,
        unmerged_speed=slow,
        merged_speed=fast,
        largest_difference=float((after - before).abs().max()),
        rounded_difference=float((rounded - before).abs().max()),
        largest_logit=float(before.abs().max()),
        same_tokens=same,
        tokens=len(answer),
        dtype=str(dtype).removeprefix("torch."),
        seconds=time.perf_counter() - begin,
    )


def _logits(lease: Lease, ids: Sequence[int]) -> torch.Tensor:
    """(T, V) float32 on the CPU, of one pass over all ids."""
    import torch

    with lease.active() as model:
        return model(input_ids=torch.tensor([list(ids)], device=lease.device)).logits[0].float().cpu()


def _greedy(lease: Lease, ids: Sequence[int]) -> list[int]:
    return [token for token, _ in stream(lease, ids, _TIMED)]


def _speed(lease: Lease, ids: Sequence[int]) -> float:
    """Decoding steps per second of one stream, after the prompt is read, whatever the model would say."""
    import torch
    from transformers import DynamicCache

    steps = min(_TIMED, lease.context_length - len(ids))
    if steps < 2:
        raise InputError("leaves no room for an answer", "prompt", "Shorten it.")
    fastest = float("inf")
    for _ in range(_ROUNDS):
        cache = DynamicCache(config=lease.model.config)
        step = torch.tensor([list(ids)], device=lease.device)
        begin = 0.0
        for position in range(steps):
            if position == 1:
                begin = time.perf_counter()
            with lease.active() as model:
                logits = model(input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
                step = logits[:, -1].argmax(-1, keepdim=True)
                step.tolist()  # waits for the device
        fastest = min(fastest, time.perf_counter() - begin)
    return (steps - 1) / fastest
