"""What a model is before anybody loads it: plain records, no weights, no libraries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Role = Literal["base", "instruct", "adapter", "fine-tuned", "model"]
Quant = Literal["nf4", "int8"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model that can be asked for by name.

    key:        the name of `/models`
    role:       `base` or `instruct` of a pair; `adapter`: LoRA weights on `base`; `fine-tuned`: a run that
                trained every weight; `model`: anything else
    parameters: of the model without its adapter, tied weights once; 0 when nothing says
    source:     Hub id, or a folder as it may be shown to visitors (never an absolute path)
    folder:     where the weights are, when they are a folder of this machine
    template:   key of its chat template in the catalogue of templates; "" when only its own is known
    base:       the model whose weights an adapter runs on
    adapter:    folder of `adapter_config.json` and `adapter_model.safetensors`
    quant:      how its linear layers are kept in memory, by bitsandbytes; "": in the dtype it runs in
    served:     its name at the endpoint, where one answers for it; may be listed there under another path
    """

    key: str
    title: str
    role: Role
    family: str
    parameters: int
    source: str
    license: str
    folder: Path | None = None
    template: str = ""
    gated: bool = False
    base: ModelSpec | None = None
    adapter: Path | None = None
    quant: Quant | Literal[""] = ""
    served: str = ""

    @property
    def remote(self) -> bool:
        """Whether the endpoint answers for it. An adapter of this machine runs here, on weights of this machine."""
        return bool(self.served) and self.adapter is None

    @property
    def weights(self) -> ModelSpec:
        """The model whose weights are resident: itself, or the base of an adapter."""
        return self.base if self.adapter is not None and self.base is not None else self


@dataclass(frozen=True, slots=True)
class Pair:
    """A base model and the instruct model made from it."""

    key: str
    title: str
    base: ModelSpec
    instruct: ModelSpec


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A row of `/models`. `bytes`: measured while resident, else an estimate of what loading would take."""

    key: str
    title: str
    role: str
    family: str
    parameters: int
    source: str
    license: str
    resident: bool
    bytes: int


@dataclass(frozen=True, slots=True)
class Gauge:
    """The state of the manager for a status line. `device` is "" until the libraries are loaded.

    used, budget, caches: bytes; caches of running answers are a part of `used`
    loading:              key → how far it is, from 0 to 1, and what is being done
    answering, waiting:   answers that are being written, and that wait for room
    server, trouble:      host and port of the endpoint, if any, and why it cannot be asked now; "" when it can
    """

    device: str
    used: int
    budget: int
    loading: Mapping[str, tuple[float, str]]
    caches: int = 0
    answering: int = 0
    waiting: int = 0
    server: str = ""
    trouble: str = ""
