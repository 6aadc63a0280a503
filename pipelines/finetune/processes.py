"""One run in several processes, as `accelerate launch` and torchrun start them: who writes, and how they agree.

The first process writes the run's directory; the others read it. What each decides by itself, such as whether Stop was
pressed, they decide together: one that went on alone would wait for the others for ever.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeVar

from pipelines.errors import InputError
from pipelines.finetune.run import RunDirectory

T = TypeVar("T")


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """How many processes train this run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


class Reader(RunDirectory):
    """The run in a process that is not the first: it sees everything and writes nothing, short of a wish to stop."""

    def append(self, kind: str, **fields: Any) -> None:
        return

    def add_samples(self, step: int, answers: Sequence[tuple[str, str]]) -> None:
        return


def batch_of_this_process(batch_size: int) -> int:
    """Conversations of each process in one step, so that all together take `batch_size`."""
    share, rest = divmod(batch_size, processes())
    if rest or not share:
        raise InputError(
            f"{batch_size} conversations cannot be shared by {processes()} processes",
            "batch_size",
            f"Use a multiple of {processes()}, or another number of processes.",
        )
    return share


def agreed(wish: bool) -> bool:
    """True in every process when it is in one of them. Every process has to call it at the same moment."""
    if processes() == 1:
        return wish
    import torch
    from accelerate import PartialState

    wishes = torch.tensor(int(wish), device=PartialState().device)
    torch.distributed.all_reduce(wishes, torch.distributed.ReduceOp.MAX)
    return bool(wishes.item())


def share_of(items: Sequence[T]) -> Sequence[T]:
    """The part of `items` that falls to this process."""
    return items[rank() :: processes()]


def together(parts: Sequence[T]) -> list[T]:
    """The results of all processes in the order of the items that `share_of` dealt out."""
    if processes() == 1:
        return list(parts)
    import torch

    dealt: list[Any] = [None] * processes()
    torch.distributed.all_gather_object(dealt, list(parts))
    whole: list[T] = [None] * sum(map(len, dealt))  # type: ignore[list-item]
    for number, part in enumerate(dealt):
        whole[number :: processes()] = part
    return whole


def leave_together() -> None:
    """Wait until every process has done its part: one that ends early takes the connections of the others along."""
    if processes() > 1:
        import torch

        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
