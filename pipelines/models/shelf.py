"""The models in memory, and the byte budget that they share.

Counted are weights, adapters, and the key-value caches of running requests.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from pipelines.errors import InputError
from pipelines.models.resident import Resident
from pipelines.models.weights import Stamp

POLL = 0.05  # seconds between two looks at a cancel event while waiting
_WHERE = "model"


class Shelf:
    """Residents by key, least recently used first. Whoever holds `changed` sees a consistent state.

    budget:   bytes; may be set once more, when the device is known
    patience: seconds that a loading waits for leased models to come back before it is refused
    """

    def __init__(self, budget: int, patience: float) -> None:
        self.budget, self._patience = budget, patience
        self.changed = threading.Condition()
        self._residents: OrderedDict[str, Resident] = OrderedDict()
        self._reserved = 0
        self._caches = 0

    def sizes(self) -> dict[str, int]:
        """Bytes of every resident model."""
        with self.changed:
            return {key: resident.bytes for key, resident in self._residents.items()}

    def used(self) -> int:
        """Bytes taken, and promised to what is being loaded."""
        with self.changed:
            return self._caches + self._reserved + sum(resident.bytes for resident in self._residents.values())

    def borrow(self, key: str) -> Resident | None:
        """The model with one more lease on it, if it is here."""
        with self.changed:
            resident = self._residents.get(key)
            if resident is not None:
                resident.leases += 1
                self._residents.move_to_end(key)
            return resident

    def drop_stale(self, key: str, now: Stamp) -> None:
        """Forget a model whose files were replaced since, unless it is in use."""
        with self.changed:
            resident = self._residents.get(key)
            if resident is not None and resident.leases == 0 and resident.stamp != now:
                del self._residents[key]

    def release(self, resident: Resident) -> None:
        """Give one lease back."""
        with self.changed:
            resident.leases -= 1
            self.changed.notify_all()

    def put(self, key: str, resident: Resident, leases: int, reserved: int) -> None:
        """A model arrives, already leased by those who waited for it, in place of its reservation."""
        with self.changed:
            resident.leases = leases
            self._residents[key] = resident
            self._reserved -= reserved
            self.changed.notify_all()

    def refuse_if_hopeless(self, key: str, need: int) -> None:
        """Raise InputError for what would not fit into the empty budget."""
        if need > self.budget:
            raise InputError(
                f"'{key}' needs {size(need)}, more than the whole budget of {size(self.budget)}",
                _WHERE,
                "Choose a smaller model, or start the studio with a larger --memory-budget.",
            )

    def reserve(self, key: str, need: int, waiting: Callable[[], None]) -> None:
        """Promise bytes to a model that will arrive, evicting what nobody leases, least recently used first.

        waiting: called while the room is still taken; may raise, to give up
        Raises InputError with the numbers when it cannot fit, or when others keep the room for too long.
        """
        self.refuse_if_hopeless(key, need)
        deadline = time.monotonic() + self._patience
        with self.changed:
            while self.used() + need > self.budget:
                if self._evict_one():
                    continue
                waiting()
                if time.monotonic() > deadline:
                    raise InputError(
                        f"'{key}' needs {size(need)}, and models in use hold {size(self.used())} "
                        f"of the budget of {size(self.budget)}",
                        _WHERE,
                        "Try again when others are done, or start the studio with a larger --memory-budget.",
                    )
                self.changed.wait(POLL)
            self._reserved += need

    def unreserve(self, need: int) -> None:
        """Take a promise back."""
        with self.changed:
            self._reserved -= need
            self.changed.notify_all()

    def free(self, need: int) -> int:
        """Bytes that caches may grow by, once idle models were evicted for `need` of them. See `engine.Budget`."""
        with self.changed:
            while self.used() + need > self.budget and self._evict_one():
                pass
            return max(0, self.budget - self.used())

    def caches(self, taken: int) -> None:
        """Note the bytes of all key-value caches. See `engine.Budget`."""
        with self.changed:
            freed = taken < self._caches
            self._caches = taken
            if freed:
                self.changed.notify_all()

    def refuse_cache(self, need: int, title: str, weights: int) -> None:
        """Raise InputError for a request whose cache would not fit beside its own model. See `engine.Budget`."""
        if weights + need > self.budget:
            left = size(max(0, self.budget - weights))
            raise InputError(
                f"prompt and answer need {size(need)} of cache; {title} leaves {left} of {size(self.budget)}",
                "max_new_tokens",
                "Ask for fewer tokens, or start the studio with a larger --memory-budget.",
            )

    @property
    def cached(self) -> int:
        """Bytes of all key-value caches."""
        return self._caches

    def _evict_one(self) -> bool:
        idle = next((key for key, resident in self._residents.items() if resident.leases == 0), None)
        if idle is None:
            return False
        on_cuda = self._residents.pop(idle).device == "cuda"
        if on_cuda:
            import torch

            torch.cuda.empty_cache()
        return True


def size(count: int) -> str:
    """Bytes for a person: '3.2 GiB', '16.3 MiB'."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
