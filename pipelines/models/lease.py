"""What a borrower of a model holds."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from pipelines.models.resident import Adapter, Resident
from pipelines.models.spec import ModelSpec
from pipelines.models.weights import Stamp
from pipelines.models.words import Words

if TYPE_CHECKING:
    from pipelines.models.engine import Engine, Request, Ticket


class Lease:
    """A model that stays in memory as long as this is held.

    `ask` has answers written. A pass of one's own goes inside `active()`; keep that short. Outside of it, `.model` is
    for reading shapes and configuration.

    resident, adapter: for the engine
    """

    def __init__(
        self, spec: ModelSpec, resident: Resident, adapter: Adapter | None, words: Words, engine: Engine
    ) -> None:
        self.spec, self.tokenizer, self.device = spec, words.tokenizer, resident.device
        self.resident, self.adapter, self.words, self.engine = resident, adapter, words, engine

    @property
    def model(self) -> Any:
        return self.resident.model

    @property
    def adapter_name(self) -> str | None:
        """PEFT's name of the adapter in the module tree; None for a model without one."""
        return self.adapter.name if self.adapter else None

    @property
    def adapter_bytes(self) -> int:
        return self.adapter.bytes if self.adapter else 0

    @property
    def attached(self) -> int:
        """How many adapters share the weights now, active or not."""
        return self.resident.attached

    @property
    def weight_bytes(self) -> int:
        """Bytes of the model without adapters."""
        return self.resident.weight_bytes

    @property
    def stamp(self) -> Stamp:
        """Of the files that the weights were read from."""
        return self.resident.stamp

    @property
    def context_length(self) -> int:
        """Tokens that prompt and answer may have together."""
        return int(getattr(self.model.config, "max_position_embeddings", 0) or 2048)

    @property
    def eos_ids(self) -> frozenset[int]:
        """Every id that ends a generation: the generation config's, and the tokenizer's own."""
        configured = self.model.generation_config.eos_token_id
        ids = set(configured) if isinstance(configured, list) else {configured}
        return frozenset(int(i) for i in ids | {self.tokenizer.eos_token_id} if i is not None)

    def ask(self, request: Request) -> Ticket:
        """Have an answer written, in the same passes as everybody else's. See `Engine.submit`."""
        return self.engine.submit([(self, request)])[0]

    def active(self) -> AbstractContextManager[Any]:
        """The model with this lease's adapter or none, for one thread at a time, without gradients."""
        return self.resident.turn(self.adapter)

    def active_adapters(self) -> tuple[str, ...]:
        """What the layers say is active in a pass of this lease; empty for a base."""
        with self.active():
            return self.resident.active_adapters()


class FreshLease(Lease):
    """A copy that nobody shares, so that its weights may be changed."""

    def merge(self) -> None:
        """Fold the adapter into the weights: from here on the model has none."""
        if self.adapter is not None:
            self.resident.merge(self.adapter)
            self.adapter = None
