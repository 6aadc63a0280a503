"""The one owner of models in this process: names them, loads each once, lends them, keeps the budget."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.models import device as devices
from pipelines.models.download import Progress, cached_tokenizer, locate
from pipelines.models.engine import Engine
from pipelines.models.flights import Flight, Flights
from pipelines.models.lease import FreshLease, Lease
from pipelines.models.loading import has_tokenizer, load_model, load_tokenizer, needed_bytes
from pipelines.models.names import Names
from pipelines.models.resident import Adapter, Resident
from pipelines.models.shelf import Shelf
from pipelines.models.spec import Gauge, ModelSpec, ModelStatus, Pair
from pipelines.models.weights import stamp, stored_weights
from pipelines.models.words import Words
from pipelines.remote import ServedModel, Server
from pipelines.remote.client import KEY, Client
from pipelines.remote.vocabulary import Vocabulary
from pipelines.settings import Settings
from pipelines.visiting import Owners, limits_of

_MAX_TOKENIZERS = 64  # kept; a tokenizer of a large vocabulary takes some 50 MiB


class ModelManager:
    """Models by name, loaded on demand; those of an endpoint asked there (see `pipelines.remote`).

    `patience`: seconds that a loading waits for others to give their models back before it is refused.
    Raises InputError when the settings name a pair that cannot be used.
    """

    def __init__(self, settings: Settings, patience: float = 20.0) -> None:
        self._settings = settings
        self._server = Server(Client(settings.endpoint, os.environ.get(KEY, ""))) if settings.endpoint else None
        self.owners = Owners(settings.public)
        self._names = Names(settings, self._server, self.owners)
        self._shelf = Shelf(settings.memory_budget or devices.default_budget("cpu"), patience)
        self._flights = Flights(self._shelf)
        limits = limits_of(settings)
        self.engine = Engine(self._shelf, limits.answers_of_one, limits.asked_of_one)
        self._device = ""
        self._tokenizers: dict[str, Words] = {}
        self._vocabularies: dict[str, Vocabulary] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, it is its settings; in another process it is the manager of that process."""
        return _of_this_process, (self._settings,)

    @property
    def pair(self) -> Pair:
        return self._names.pair

    def resolve(self, name: str) -> ModelSpec:
        """The model of a key of `/models`, `base`, `instruct`, `run:<id>`. Raises InputError."""
        return self._names.resolve(name)

    def runs(self) -> list[ModelSpec]:
        """The fine-tuned models that whoever is being served may be shown, oldest first."""
        return self._names.runs()

    def personalities(self) -> list[ModelSpec]:
        """The adapters that ship with the studio for the running base; empty for most pairs."""
        return self._names.personalities()

    def foreign(self) -> list[ModelSpec]:
        """The adapters made elsewhere that fit the running pair, from the models directory."""
        return self._names.foreign()

    def refused(self) -> list[str]:
        """Why each other adapter of the models directory is not offered, a sentence each."""
        return self._names.refused()

    def register_adapter(self, run_id: str, path: Path) -> None:
        """Let `run:<run_id>` mean the adapter in a folder outside of the runs directory."""
        self._names.register_adapter(run_id, path)

    def models(self) -> list[ModelStatus]:
        """Every model by name, the running pair first. Loads nothing."""
        sizes = self._shelf.sizes()
        return [_status(spec, sizes, self._device or self._settings.device) for spec in self._names.all()]

    def gauge(self) -> Gauge:
        """Device, bytes used and allowed, what is being loaded, the answers under way; who answers in place of this
        machine."""
        shelf, load, server = self._shelf, self.engine.load, self._server
        asked = (server.client.shown, server.trouble) if server else ("", "")
        return Gauge(self._device, shelf.used(), shelf.budget, self._flights.under_way(), shelf.cached, *load, *asked)

    def served(self, name: str) -> ServedModel | None:
        """The model as the endpoint answers for it; None for one that this machine answers for."""
        spec = self.resolve(name)
        if self._server is None or not spec.remote:
            return None
        return ServedModel(self._server, spec.served, spec.title, self._vocabulary(spec))

    def no_weights(self, name: str) -> str:
        """Why nothing can be computed on the weights of that model, without a full stop; empty when they are here."""
        spec = self.resolve(name)
        if self._server is None or not spec.remote:
            return ""
        return f"{spec.title} is answered by {self._server.client.shown}, which gives texts and no weights"

    def preload(self, names: Iterable[str]) -> threading.Thread:
        """Load models in the background, one by one. What cannot be loaded says so when it is asked.

        Of a model at the endpoint nothing is loaded but its tokenizer, where it is on this machine.
        """
        wanted = list(names)

        def work() -> None:
            for name in wanted:
                try:
                    spec = self.resolve(name)
                    if spec.remote:
                        self._vocabulary(spec)
                        continue
                    self._shelf.release(self._borrow(spec, pinned=True))
                    self._words(spec)
                except InputError:
                    continue

        thread = threading.Thread(target=work, name="preload", daemon=True)
        thread.start()
        return thread

    def tokenizer(self, name: str) -> Any:
        """The tokenizer of a model; its weights stay where they are."""
        spec = self.resolve(name)
        devices.load_libraries()
        return self._words(spec).tokenizer

    @contextmanager
    def lease(
        self, name: str, progress: Progress | None = None, cancel: threading.Event | None = None
    ) -> Iterator[Lease]:
        """Borrow a model, loading it first if need be.

        progress: called with a fraction and a phrase while it loads
        Raises InputError when the model is unknown or cannot be had, Cancelled when `cancel` is set meanwhile.
        """
        spec = self._here(name)
        resident = self._borrow(spec, progress, cancel)
        adapter: Adapter | None = None
        try:
            if spec.adapter is not None:
                adapter = resident.attach(spec.adapter)
            yield Lease(spec, resident, adapter, _fitting(self._words(spec), spec, resident), self.engine)
        finally:
            if adapter is not None:
                resident.detach(adapter)
            self._shelf.release(resident)

    @contextmanager
    def fresh(self, name: str) -> Iterator[FreshLease]:
        """A copy read from disk now and shared with nobody, within the budget. Its weights may be changed."""
        spec = self._here(name)
        resident, reserved = self._load(spec.weights, Flight())
        try:
            adapter = resident.attach(spec.adapter) if spec.adapter else None
            yield FreshLease(spec, resident, adapter, _fitting(self._words(spec), spec, resident), self.engine)
        finally:
            self._shelf.unreserve(reserved)

    def _here(self, name: str) -> ModelSpec:
        """The model, if its weights may be had. Raises InputError for one that the endpoint answers for."""
        if why := self.no_weights(name):
            raise InputError(why, "model", "For what needs the weights, start the studio without --endpoint.")
        return self.resolve(name)

    def _vocabulary(self, spec: ModelSpec) -> Vocabulary:
        """Of a model at the endpoint; with the tokenizer that this machine has of it, else without."""
        if spec.key not in self._vocabularies:
            try:
                devices.load_libraries()
                words: Words | None = self._words(spec)
            except InputError:
                words = None
            self._vocabularies[spec.key] = Vocabulary(words.tokenizer if words else None)
        return self._vocabularies[spec.key]

    def _borrow(
        self,
        spec: ModelSpec,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
        pinned: bool = False,
    ) -> Resident:
        weights = spec.weights
        if weights.folder is not None:
            self._shelf.drop_stale(weights.key, stamp(weights.folder))
        return self._flights.borrow(weights.key, lambda flight: self._load(weights, flight), progress, cancel, pinned)

    def _load(self, spec: ModelSpec, flight: Flight) -> tuple[Resident, int]:
        """Read a model, room for it being reserved before. Returns it with the bytes reserved."""
        flight.report(0.0, "starting the libraries")
        devices.load_libraries()
        self._settle_device()
        flight.report(0.05, "looking for the weights")
        self._shelf.refuse_if_hopeless(spec.key, devices.weight_bytes(spec.parameters, self._device, spec.quant))
        folder = locate(spec, self._may_download(spec), flight.report, flight.cancelled)
        parameters = stored_weights(folder).parameters
        need = needed_bytes(spec, folder, parameters, self._device)
        self._shelf.reserve(spec.key, need, lambda: flight.report(0.1, "waiting for memory"))
        try:
            flight.report(0.8, "reading the weights")
            read = stamp(folder)
            resident = load_model(spec, folder, parameters, self._device)
            resident.stamp = read
            return resident, need
        except BaseException:
            self._shelf.unreserve(need)
            raise

    def _may_download(self, spec: ModelSpec) -> bool:
        """The running pair was named by whoever started the studio; anything else is a visitor's wish."""
        return self._settings.allow_any_model or spec.key in (self.pair.base.key, self.pair.instruct.key)

    def _settle_device(self) -> None:
        if not self._device:
            chosen = devices.choose_device(self._settings.device)
            if not self._settings.memory_budget and chosen == "cuda":
                self._shelf.budget = devices.default_budget(chosen)
            self._device = chosen

    def _words(self, spec: ModelSpec) -> Words:
        """A run's own tokenizer where it kept one (it may bring its own chat template), else its base's."""
        origins = [spec.adapter, spec.folder, spec.base.folder if spec.base else None]
        folder = next((path for path in origins if path is not None and has_tokenizer(path)), None)
        if folder is None and spec.remote:
            folder = cached_tokenizer(spec)
        if folder is None:
            may_download = self._may_download(spec.weights)
            folder = locate(spec.weights, may_download, lambda *_: None, threading.Event())
        template = spec.adapter / "chat_template.jinja" if spec.adapter not in (None, folder) else None
        files = [*folder.glob("token*"), *([template] if template and template.is_file() else ())]
        key = f"{folder} {template} {max((file.stat().st_mtime_ns for file in files), default=0)}"
        if key not in self._tokenizers:
            if len(self._tokenizers) >= _MAX_TOKENIZERS:
                self._tokenizers.clear()
            tokenizer = load_tokenizer(spec, folder)
            if template is not None and template.is_file():
                # It answers in the template that it was trained with, though it kept no tokenizer of its own.
                tokenizer.chat_template = template.read_text(encoding="utf-8")
            self._tokenizers[key] = Words(tokenizer)
        return self._tokenizers[key]


@cache
def _of_this_process(settings: Settings) -> ModelManager:
    return ModelManager(settings)


def _fitting(words: Words, spec: ModelSpec, resident: Resident) -> Words:
    """The tokenizer, unless an adapter's own knows tokens that its base has no embedding for. Raises InputError."""
    tokenizer = words.tokenizer
    rows = int(getattr(resident.model.config, "vocab_size", 0) or len(tokenizer))
    if spec.adapter is not None and len(tokenizer) > rows:
        raise InputError(
            f"the tokenizer of '{spec.key}' has {len(tokenizer):,} tokens, and {spec.weights.title} knows {rows:,}",
            "model",
            "Train it without added tokens.",
        )
    return words


def _status(spec: ModelSpec, sizes: dict[str, int], device: str) -> ModelStatus:
    key = spec.weights.key
    return ModelStatus(
        key=spec.key,
        title=spec.title,
        role=spec.role,
        family=spec.family,
        parameters=spec.parameters,
        source=spec.source,
        license=spec.license,
        resident=key in sizes,
        bytes=sizes.get(key, devices.weight_bytes(spec.parameters, device, spec.weights.quant)),
    )
