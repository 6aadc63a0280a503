"""From the name that somebody types to a ModelSpec. Reads small files only, never weights.

Folders are named by the person who starts the studio (`--pair`, `--models-dir`). What a visitor types is
looked up in tables, or has to match a strict pattern; it never becomes a path by itself.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.errors import InputError, unknown
from pipelines.models.catalogue import adapters, pairs
from pipelines.models.fitting import read_adapter
from pipelines.models.foreign import CONFIG, Foreign, is_model
from pipelines.models.served import at_endpoint, others
from pipelines.models.spec import ModelSpec, Pair, Quant, Role
from pipelines.models.weights import is_complete, stored_weights
from pipelines.remote import Server
from pipelines.settings import Settings
from pipelines.visiting import Owners

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
HUB_ID = re.compile(r"[A-Za-z0-9][\w-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_WHERE = "model"
QUANTS = {"nf4": "NF4", "int8": "int8"}
_FRESH = 0.5  # seconds that a list of runs is good for


class Names:
    """The models this studio knows by name; any of them quantized by its name and `@nf4` or `@int8`.

    server: what answers at the endpoint of the settings, if anything

    Raises InputError when the pair of the settings cannot be used: a wrong `--pair` is found at start.
    """

    def __init__(self, settings: Settings, server: Server | None = None, owners: Owners | None = None) -> None:
        self._settings, self._server = settings, server
        self._owners = owners or Owners(settings.public)
        self._known = {spec.key: spec for pair in pairs() for spec in (pair.base, pair.instruct)}
        self._known |= {spec.key: spec for spec in adapters()}
        self._adapters: dict[str, Path] = {}
        self._listed: tuple[float, list[ModelSpec]] = (float("-inf"), [])
        self.pair = self._running_pair(settings.pair)
        self._foreign = Foreign(settings.models_dir, (self.pair.base, self.pair.instruct))
        for spec in (self.pair.base, self.pair.instruct):
            self._known[spec.key] = spec

    def register_adapter(self, run_id: str, path: Path) -> None:
        """Make `run:<run_id>` mean the adapter in that folder, whatever the runs directory holds."""
        _check_run_id(run_id)
        self._adapters[run_id] = Path(path)

    def resolve(self, name: str) -> ModelSpec:
        """The model of that name. Raises InputError naming the nearest known name."""
        if not isinstance(name, str) or not name.strip():
            raise InputError("no model is named", _WHERE, "Use base, instruct, or a key of /models.")
        name = name.strip()
        if name in ("base", "instruct"):
            return self.pair.base if name == "base" else self.pair.instruct
        if name.startswith("run:") and "@" not in name:
            return self._run(name.removeprefix("run:"))
        known = self._known | self._folders() | self._served()
        if name in known:
            return known[name]
        plain, at, quant = name.rpartition("@")
        if at:
            return quantized(self.resolve(plain), quant)
        foreign = self._foreign.folders()
        if name in foreign:
            return _or_raise(foreign[name])
        if HUB_ID.fullmatch(name):
            return self._hub(name)
        # Runs are not offered in their place: in a public studio their ids are what opens them.
        raise unknown(name, [*known, *foreign, "base", "instruct"], _WHERE)

    def all(self) -> list[ModelSpec]:
        """The running pair, its runs, what the endpoint has, the folders, then the rest of the catalogue."""
        first = {spec.key: spec for spec in (self.pair.base, self.pair.instruct, *self.runs(), *self.foreign())}
        found = first | self._folders() | self._served()
        return list((found | {key: spec for key, spec in self._known.items() if key not in found}).values())

    def runs(self) -> list[ModelSpec]:
        """The fine-tuned models that whoever is being served may be shown and ask now, oldest first; runs without
        weights are passed over."""
        now = time.monotonic()
        # Every open page asks for this list every few seconds, and it reads two files of each run.
        if now - self._listed[0] > _FRESH:
            self._listed = now, list(self._find_runs())
        return [spec for spec in self._listed[1] if self._owners.lists(spec.key.removeprefix("run:"))]

    def personalities(self) -> list[ModelSpec]:
        """The adapters that ship with the studio for the base of the running pair."""
        served, base = self._served(), self.pair.base
        shipped = [quantized(spec, base.quant) if base.quant else spec for spec in adapters()]
        return [served.get(spec.key, spec) for spec in shipped if spec.weights.key == base.key]

    def foreign(self) -> list[ModelSpec]:
        """The adapters of the models directory that fit the running pair, and what else the endpoint answers for."""
        shipped = {spec.key for spec in adapters()}
        fitting = [found for found in self._foreign.folders().values() if isinstance(found, ModelSpec)]
        return fitting + [spec for key, spec in self._served().items() if key not in shipped]

    def refused(self) -> list[str]:
        """Why each other adapter of the models directory is not offered, a sentence each."""
        found = self._foreign.folders()
        return [f"{name}: {why.what}. {why.advice}" for name, why in found.items() if isinstance(why, InputError)]

    def _find_runs(self) -> Iterator[ModelSpec]:
        identifiers = list(self._adapters)
        if self._settings.runs_dir.is_dir():
            folders = (path for path in self._settings.runs_dir.iterdir() if RUN_ID.fullmatch(path.name))
            found = sorted((path.stat().st_mtime, path.name) for path in folders)
            identifiers += [identifier for _, identifier in found if identifier not in self._adapters]
        for identifier in identifiers:
            try:
                yield self._run(identifier)
            except InputError:
                continue

    def _running_pair(self, text: str) -> Pair:
        catalogue = {pair.key: pair for pair in pairs()}
        key, at, quant = text.rpartition("@")
        if at and key in catalogue:
            plain = catalogue[key]
            base, instruct = (quantized(spec, quant, "--pair") for spec in (plain.base, plain.instruct))
            return self._asked_where(Pair(text, f"{plain.title} ({QUANTS[base.quant]})", base, instruct))
        if text in catalogue:
            return self._asked_where(catalogue[text])
        names = [part.strip() for part in text.split(",")]
        if len(names) != 2:
            error = unknown(text, catalogue, "--pair")
            raise InputError(error.what, error.where, f"{error.advice} Or name two models: BASE,INSTRUCT.")
        base, instruct = (self._operator_model(name) for name in names)
        if base.key == instruct.key:
            instruct = replace(instruct, key=f"{instruct.key}-instruct")
        return self._asked_where(
            Pair(
                text,
                f"{base.title} and {instruct.title}",
                replace(base, role="base"),
                replace(instruct, role="instruct"),
            )
        )

    def _asked_where(self, pair: Pair) -> Pair:
        """The pair, named at the endpoint where there is one."""
        if not self._settings.endpoint:
            return pair
        base, instruct = (replace(spec, served=spec.served or spec.source) for spec in (pair.base, pair.instruct))
        return replace(pair, base=base, instruct=instruct)

    def _operator_model(self, name: str) -> ModelSpec:
        """A model named on the command line: a key, a folder, or any Hub id."""
        if name in self._known:
            return self._known[name]
        folder = Path(name).expanduser()
        if folder.is_dir():
            return folder_spec(folder, folder.name, where="--pair")
        plain, at, quant = name.rpartition("@")
        if at:
            return quantized(self._operator_model(plain), quant, "--pair")
        if HUB_ID.fullmatch(name):
            return _hub_spec(name)
        if self._settings.endpoint:
            return at_endpoint(name)
        raise InputError(f"'{name}' is neither a known model nor a folder", "--pair", "Give two folders or two keys.")

    def _folders(self) -> dict[str, ModelSpec]:
        directory = self._settings.models_dir
        if directory is None:
            return {}
        found = {}
        for path in sorted(path for path in directory.iterdir() if _is_folder_of_a_model(path)):
            with suppress(InputError):  # one folder that is no model must not hide the others
                found[path.name] = folder_spec(path, path.name)
        return found

    def _served(self) -> dict[str, ModelSpec]:
        return others(self._server, self.pair, self._known) if self._server is not None else {}

    def _hub(self, name: str) -> ModelSpec:
        for spec in self._known.values():
            if spec.source.lower() == name.lower():
                return spec
        if not self._settings.allow_any_model:
            raise InputError(
                f"'{name}' is not offered by this studio",
                _WHERE,
                "Use a key of /models; --allow-any-model, given when the studio is started, allows any Hub id.",
            )
        return self._foreign.hub(name) or _hub_spec(name)

    def _run(self, run_id: str) -> ModelSpec:
        _check_run_id(run_id)
        folder = self._settings.runs_dir / run_id
        adapter = self._adapters.get(run_id, folder / "adapter")
        if (adapter / "adapter_config.json").is_file() and (adapter / "adapter_model.safetensors").is_file():
            base = self._base_of(adapter, folder).weights
            return replace(
                base,
                key=f"run:{run_id}",
                title=f"Run {run_id}",
                role="adapter",
                source=f"runs/{run_id}",
                base=base,
                adapter=adapter,
            )
        if is_complete(folder / "model"):
            spec = folder_spec(folder / "model", f"run:{run_id}", role="fine-tuned")
            origin = self._trained_from(folder)
            return replace(
                spec,
                title=f"Run {run_id}",
                source=f"runs/{run_id}",
                license=origin.license if origin else spec.license,
                template=origin.template if origin else "",
                base=origin,
            )
        raise InputError(
            f"'run:{run_id[:80]}' has no weights in this studio",
            _WHERE,
            "Use the id of a run that kept its adapter.",
        )

    def _base_of(self, adapter: Path, run: Path) -> ModelSpec:
        """The model an adapter was trained on: where the run found it, what PEFT recorded, its name."""
        record = _read(run / "config.json").get("base")
        found_at = record.get("source") if isinstance(record, dict) else None
        recorded = _read(adapter / "adapter_config.json").get("base_model_name_or_path")
        for trained_on in (found_at, recorded):
            for spec in [self.pair.base, self.pair.instruct, *self._known.values(), *self._folders().values()]:
                if isinstance(trained_on, str) and is_model(spec, trained_on):
                    return spec
        origin = self._trained_from(run)
        if origin is None:
            read_adapter(adapter)  # where its own file cannot be read, that is why
            raise InputError(
                f"the base of run '{run.name}' is not known here", _WHERE, "Start the studio with its pair."
            )
        return origin

    def _trained_from(self, run: Path) -> ModelSpec | None:
        name = _read(run / "config.json").get("model", "")
        # A run that names itself, or a ring of runs, would recurse for ever.
        if not isinstance(name, str) or name.startswith("run:"):
            return None
        try:
            return self.resolve(name)
        except InputError:
            return None


def quantized(spec: ModelSpec, quant: str, where: str = _WHERE) -> ModelSpec:
    """The same model with its linear layers in `quant`, as a model of its own beside the other; an adapter over a base
    that is. Raises InputError for a quantization that nobody knows.
    """
    if quant not in QUANTS:
        raise unknown(quant, QUANTS, f"{where}: the quantization after @")
    if spec.remote:
        raise InputError(f"'{spec.key}' is answered for by the endpoint", where, "How it is kept is decided there.")
    if spec.quant:
        raise InputError(f"'{spec.key}' is quantized already", where, f"Leave @{quant} out.")
    kept: Quant = "nf4" if quant == "nf4" else "int8"
    named = replace(spec, key=f"{spec.key}@{kept}", title=f"{spec.title} ({QUANTS[kept]})", quant=kept)
    if spec.adapter is None or spec.base is None or spec.base.quant:
        return named
    return replace(named, base=quantized(spec.base, quant, where))


def folder_spec(folder: Path, key: str, where: str = _WHERE, role: Role = "model") -> ModelSpec:
    """A spec from a folder of this machine. Raises InputError when the folder is no complete model."""
    config = _read(folder / "config.json")
    if not config.get("model_type"):
        raise InputError(f"'{folder.name}' has no config.json that names a model_type", where)
    return ModelSpec(
        key=key,
        title=folder.name,
        role=role,
        family=str(config["model_type"]),
        parameters=stored_weights(folder, where).parameters,
        source=folder.name,
        license="as its folder says",
        folder=folder,
    )


def _hub_spec(name: str) -> ModelSpec:
    title = name.split("/")[1]
    return ModelSpec(name, title, "model", title.split("-")[0].lower(), 0, name, "as its model card says")


def _check_run_id(run_id: str) -> None:
    if not RUN_ID.fullmatch(run_id):
        raise InputError(
            f"'{run_id[:80]}' is not a run id",
            _WHERE,
            "A run id is letters, digits, - and _, at most 80 of them.",
        )


def _is_folder_of_a_model(path: Path) -> bool:
    return is_complete(path) and not (path / CONFIG).is_file()


def _or_raise(found: ModelSpec | InputError) -> ModelSpec:
    if isinstance(found, InputError):
        # A copy: an error that is raised again and again collects the traces of all who raised it.
        raise InputError(found.what, found.where, found.advice)
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
