"""Rows that are generated together, and what every way of computing them has to offer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

    from pipelines.models.resident import Adapter

MAX_ROWS = 128  # of a batch: more would make every one of them slow


@dataclass(slots=True, eq=False)
class Row:
    """One request in a batch.

    pending: ids that the model has not read yet: the prompt, later the token that was chosen last
    room:    tokens that prompt and answer may take together
    """

    adapter: Adapter | None
    pending: list[int]
    room: int
    state: Any = field(default=None, repr=False)  # of the batch


class Batch(Protocol):
    """Rows of one resident model. Every call but `missing` may run out of memory."""

    @property
    def rows(self) -> Sequence[Row]: ...

    repeatable: bool  # whether a pass that failed can be done again: nothing was kept of it

    @property
    def limit(self) -> int:
        """Rows that it can have at once."""
        ...

    @property
    def bytes(self) -> int:
        """Of the keys and values of all rows."""
        ...

    def missing(self, room: int) -> int:
        """Bytes that one more row of `room` tokens would take."""
        ...

    def add(self, row: Row, free: int) -> None:
        """Take a row in. `free`: bytes that the batch may grow by; what `missing` says it takes in any case."""
        ...

    def remove(self, row: Row) -> None:
        """Let a row go."""
        ...

    def step(self) -> tuple[list[Row], torch.Tensor]:
        """One pass: the rows that now have a next token, and its logits (rows, V), float32."""
        ...
