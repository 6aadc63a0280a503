"""A model in memory, with the adapters attached to it, used by one forward pass at a time.

Every pass happens inside `turn(adapter)`: it holds the model's lock and has that adapter active, or none; or inside
`mixed_turn`, where each row of the batch has its own.
Which adapter is active is a property of the whole module tree in PEFT, so a pass outside a turn could run
with somebody else's weights (unslothai/unsloth issue 4503 is that mistake).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.building import BUILDING
from pipelines.errors import InputError
from pipelines.memory.loaded import constants_of
from pipelines.models.engine.adapters import PackedAdapter, pack
from pipelines.models.engine.lean import LeanModel
from pipelines.models.fitting import adapter_shapes, called, misfit, read_adapter
from pipelines.models.mixture import Mixture, refusal
from pipelines.models.spec import ModelSpec
from pipelines.models.turns import FairLock
from pipelines.models.weights import Stamp

MAX_ADAPTERS = 16  # attached at once; the least recently used one that nobody leases makes room
_WHERE = "model"


@dataclass(slots=True, eq=False)
class Adapter:
    """LoRA weights in the module tree. `name` is PEFT's; `bytes` as they lie in memory.

    alone:  why it cannot share a pass with other adapters; empty when it can
    packed: what the lean model takes
    """

    name: str
    bytes: int
    alone: str = ""
    packed: PackedAdapter | None = None
    leases: int = 0
    used: int = 0


class Resident:
    """The weights of `spec` on `device`. `bytes` counts weights, buffers and adapters, tied tensors once.

    lean: the same weights, computed without the module tree; None for an architecture that it does not know
    """

    def __init__(self, spec: ModelSpec, model: Any, device: str, lean: LeanModel | None = None) -> None:
        self.spec, self.model, self.device, self.lean = spec, model, device, lean
        self.leases = 0
        self.stamp: Stamp = ()  # of the files that were read
        self.weight_bytes = _bytes_of(model)
        self._lock = FairLock()
        self._peft: Any = None
        self._active: str | None = None
        self._adapters: dict[tuple[str, int, int], Adapter] = {}
        self._clock = 0

    @property
    def attached(self) -> int:
        """How many adapters are in the module tree, active or not."""
        return len(self._adapters)

    @property
    def bytes(self) -> int:
        return self.weight_bytes + sum(adapter.bytes for adapter in list(self._adapters.values()))

    @contextmanager
    def turn(self, adapter: Adapter | None) -> Iterator[Any]:
        """The model, for one forward pass or a few, with exactly this adapter active. No gradients."""
        import torch

        with self._lock:
            self._select(adapter.name if adapter else None)
            with torch.inference_mode():
                yield self.model

    def mix(self, adapters: Sequence[Adapter | None]) -> Mixture:
        """What `mixed_turn` takes, for one row per adapter, rows without one first. All have to be leased, and none
        may have to go `alone`."""
        import torch

        with self._lock, torch.inference_mode():
            return Mixture.of(self.model, [adapter.name if adapter else None for adapter in adapters])

    @contextmanager
    def mixed_turn(self, mixture: Mixture) -> Iterator[Any]:
        """The model, for one forward pass or a few over a batch whose rows have the adapters of `mixture`."""
        import torch

        with self._lock:
            self._select(None)
            with torch.inference_mode(), mixture.installed():
                yield self.model

    def attach(self, folder: Path) -> Adapter:
        """Lease the adapter of that folder, reading it if it is not attached in its present version.

        Raises InputError for anything that is no LoRA adapter of this model, or that would change the base.
        """
        file = folder / "adapter_model.safetensors"
        stat = file.stat()
        # A run that is still training writes its adapter again: the new file is another adapter.
        version = (str(folder.resolve()), stat.st_mtime_ns, stat.st_size)
        with self._lock:
            adapter = self._adapters.get(version)
            if adapter is None:
                self._check(folder)
                self._make_room()
                adapter = self._read(folder)
                self._adapters[version] = adapter
            self._clock += 1
            adapter.leases, adapter.used = adapter.leases + 1, self._clock
            return adapter

    def detach(self, adapter: Adapter) -> None:
        """Give a lease back. The weights stay until their room is needed."""
        with self._lock:
            adapter.leases -= 1

    def merge(self, adapter: Adapter) -> None:
        """Fold an adapter into the weights for good. Only for a resident that nobody shares."""
        with self._lock:
            self._select(adapter.name)
            self.model = self._peft.merge_and_unload(adapter_names=[adapter.name])
            self._peft, self._active = None, None
            self._adapters.clear()

    def active_adapters(self) -> tuple[str, ...]:
        """The adapters that a pass would use now, read from every layer, not from our own bookkeeping."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        layers = [module for module in self.model.modules() if isinstance(module, BaseTunerLayer)]
        return tuple(sorted({name for layer in layers if not layer.disable_adapters for name in layer.active_adapters}))

    def _select(self, name: str | None) -> None:
        if name == self._active or self._peft is None:
            return
        tuner = self._peft.base_model
        if name is None:
            tuner.disable_adapter_layers()
        else:
            tuner.enable_adapter_layers()
            tuner.set_adapter(name, inference_mode=True)
        self._active = name

    def _check(self, folder: Path) -> None:
        """Raises InputError for what is no adapter of this model, before PEFT touches the module tree."""
        read_adapter(folder)
        # Wrapped layers keep the model's own weight as `base_layer`; 4-bit weights are bytes that remember their shape.
        own = {
            name.replace(".base_layer", ""): tuple(getattr(getattr(weight, "quant_state", None), "shape", weight.shape))
            for name, weight in self.model.named_parameters()
        }
        if why := misfit(adapter_shapes(folder), own, self.spec.title):
            raise self._unfit(folder, f": {why}")

    def _unfit(self, folder: Path, why: str = "") -> InputError:
        what = f"the adapter in '{called(folder)}' does not fit {self.spec.title}{why}"
        return InputError(what, _WHERE, "Train it on this base.")

    def _read(self, folder: Path) -> Adapter:
        from peft import PeftConfig, PeftModel

        name = f"adapter{self._clock}"
        self._clock += 1
        try:
            config = PeftConfig.from_pretrained(str(folder))
            config.inference_mode = True
            with BUILDING:
                if self._peft is None:
                    # The layers are put into self.model itself; the wrapper is kept for its switches only.
                    self._peft = PeftModel(self.model, config, adapter_name=name)
                self._peft.load_adapter(str(folder), adapter_name=name, torch_device=self.device)
        except Exception as error:  # PEFT raises RuntimeError, ValueError, KeyError … for a wrong shape or key
            self._forget(name)
            raise self._unfit(folder) from error
        finally:
            self._active = "?"  # reading one activates it, whatever was active before
            self._select(None)
        self.model.eval()
        weights = [weight for key, weight in self.model.named_parameters() if f".{name}." in key]
        size = sum(weight.numel() * weight.element_size() for weight in weights)
        alone = refusal(self.model, name)
        packed = None if self.lean is None or alone else pack(self.lean, self.model, name)
        if self.lean is not None and packed is None:
            alone = alone or "it adapts more than the linear layers of the blocks"
        return Adapter(name, size + (packed.bytes if packed else 0), alone, packed)

    def _make_room(self) -> None:
        idle = sorted((a.used, version) for version, a in self._adapters.items() if not a.leases)
        for _, version in idle[: max(0, len(self._adapters) - MAX_ADAPTERS + 1)]:
            self._forget(self._adapters.pop(version).name)
        if len(self._adapters) >= MAX_ADAPTERS:
            raise InputError(
                f"{MAX_ADAPTERS} adapters of {self.spec.title} are in use", _WHERE, "Try again in a moment."
            )

    def _forget(self, name: str) -> None:
        if self._peft is None:
            _strip(self.model)
            return
        if name not in self._peft.peft_config:
            return
        if len(self._peft.peft_config) == 1:
            # PEFT cannot delete its last adapter and stay a PEFT model: give the base its own layers back.
            self.model, self._peft, self._active = self._peft.unload(), None, None
        else:
            self._peft.delete_adapter(name)
            self._active = "?"
            self._select(None)


def _strip(model: Any) -> None:
    """Take out the layers that PEFT had put in when it failed half way."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BaseTunerLayer):
                setattr(parent, name, child.get_base_layer())


def _bytes_of(model: Any) -> int:
    tensors = {tensor.data_ptr(): tensor for tensor in [*model.parameters(), *model.buffers(), *constants_of(model)]}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
