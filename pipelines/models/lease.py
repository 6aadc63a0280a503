"""What a borrower of a model holds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from pipelines.models.mixture import Mixture
from pipelines.models.resident import Adapter, Resident
from pipelines.models.spec import ModelSpec
from pipelines.models.weights import Stamp


class Lease:
    """A model that stays in memory as long as this is held.

    Run it inside `active()`, and keep that short: one decoding step, one batch. Outside of it, `.model` is
    for reading shapes and configuration.
    """

    def __init__(self, spec: ModelSpec, resident: Resident, adapter: Adapter | None, tokenizer: Any) -> None:
        self.spec, self.tokenizer, self.device = spec, tokenizer, resident.device
        self._resident, self._adapter = resident, adapter

    @property
    def model(self) -> Any:
        return self._resident.model

    @property
    def adapter_name(self) -> str | None:
        """PEFT's name of the adapter in the module tree; None for a model without one."""
        return self._adapter.name if self._adapter else None

    @property
    def adapter_bytes(self) -> int:
        return self._adapter.bytes if self._adapter else 0

    @property
    def attached(self) -> int:
        """How many adapters share the weights now, active or not."""
        return self._resident.attached

    @property
    def weight_bytes(self) -> int:
        """Bytes of the model without adapters."""
        return self._resident.weight_bytes

    @property
    def stamp(self) -> Stamp:
        """Of the files that the weights were read from."""
        return self._resident.stamp

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

    def shares(self, other: Lease) -> bool:
        """Whether both run on the same weights in memory."""
        return self._resident is other._resident

    def active(self) -> AbstractContextManager[Any]:
        """The model with this lease's adapter or none, for one thread at a time, without gradients."""
        return self._resident.turn(self._adapter)

    def active_adapters(self) -> tuple[str, ...]:
        """What the layers say is active in a pass of this lease; empty for a base."""
        with self.active():
            return self._resident.active_adapters()


class LeaseGroup:
    """Leases of one resident model, to run as the rows of one pass: a row for each lease, in this order.

    Raises ValueError for leases that do not share their weights, and where `can_mix` says that they may not.
    """

    def __init__(self, leases: Sequence[Lease]) -> None:
        self._leases = list(leases)
        self._resident = leases[0]._resident
        if any(lease._resident is not self._resident for lease in leases):
            raise ValueError("the leases do not share their weights")
        self._mixture: Mixture | None = None
        if len({id(lease._adapter) for lease in leases}) > 1:
            self._mixture = self._resident.mix([lease._adapter for lease in leases])

    def active(self) -> AbstractContextManager[Any]:
        """The model, each row of its batch with its lease's adapter or none; for one thread, without gradients."""
        if self._mixture is None:
            return self._leases[0].active()
        return self._resident.mixed_turn(self._mixture)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only."""
        self._leases = [self._leases[row] for row in rows]
        if self._mixture is not None:
            self._mixture = self._mixture.keep(rows)


def can_mix(lease: Lease) -> bool:
    """Whether its rows may share a pass with those of other adapters. A base can."""
    return lease._adapter is None or not lease._adapter.alone


class FreshLease(Lease):
    """A copy that nobody shares, so that its weights may be changed."""

    def merge(self) -> None:
        """Fold the adapter into the weights: from here on the model has none."""
        if self._adapter is not None:
            self._resident.merge(self._adapter)
            self._adapter = None
