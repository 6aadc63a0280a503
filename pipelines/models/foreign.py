"""LoRA adapters made elsewhere: folders of `--models-dir`, and repositories of the Hub where any model is allowed.

One is offered when it was made for the running pair: its configuration names the base or the instruct model, and the
shapes of its weights are those of that model. Every other is refused with a sentence that says which of the two failed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.errors import InputError
from pipelines.models.download import cached_folder
from pipelines.models.fitting import WEIGHTS, adapter_shapes, called, misfit, read_adapter
from pipelines.models.hub import limit_waiting
from pipelines.models.spec import ModelSpec
from pipelines.models.weights import model_shapes

CONFIG = "adapter_config.json"
_FILES = [CONFIG, WEIGHTS, "tokenizer*", "*.jinja", "special_tokens_map.json", "added_tokens.json"]
_FILES += ["vocab.json", "merges.txt", "README.md"]
_WHERE = "model"
_FRESH = 0.5  # seconds that a look through the directory is good for
_ASKED = 300.0  # seconds that "the Hub has no such adapter" is good for
_MAX_ASKED = 256


class Foreign:
    """The adapters of a directory and of the Hub that fit one of `bases`."""

    def __init__(self, directory: Path | None, bases: Sequence[ModelSpec]) -> None:
        self._directory, self._bases = directory, tuple(bases)
        self._looked: tuple[float, dict[str, ModelSpec | InputError]] = (float("-inf"), {})
        self._no_adapter: dict[str, float] = {}

    def folders(self) -> dict[str, ModelSpec | InputError]:
        """Every adapter folder by its name: a model, or why it is none."""
        if self._directory is None:
            return {}
        now = time.monotonic()
        if now - self._looked[0] > _FRESH:
            found: dict[str, ModelSpec | InputError] = {}
            for folder in sorted(path for path in self._directory.iterdir() if (path / CONFIG).is_file()):
                try:
                    found[folder.name] = self._spec(folder, folder.name, f"{self._directory.name}/{folder.name}")
                except InputError as error:
                    found[folder.name] = error
            self._looked = now, found
        return self._looked[1]

    def hub(self, name: str) -> ModelSpec | None:
        """The adapter of that Hub id, from the cache or the Hub; None when there is none of that name.

        Raises InputError for an adapter that does not fit the running pair.
        """
        if time.monotonic() - self._no_adapter.get(name, float("-inf")) < _ASKED:
            return None
        folder = _cached(name) or _fetched(name)
        if folder is None:
            if len(self._no_adapter) >= _MAX_ASKED:
                self._no_adapter.clear()
            self._no_adapter[name] = time.monotonic()
            return None
        return self._spec(folder, name, name)

    def _spec(self, folder: Path, name: str, source: str) -> ModelSpec:
        try:
            config, shapes = read_adapter(folder), adapter_shapes(folder)
        except InputError as error:
            # The folder of a Hub snapshot is called by its commit.
            raise InputError(error.what.replace(f"'{called(folder)}'", f"'{name}'"), _WHERE, error.advice) from None
        base = self._base(config.get("base_model_name_or_path"), name)
        found_at = base.folder or cached_folder(base)
        # Where the base is not here yet, the shapes are looked at when it is loaded.
        if found_at is not None and (why := misfit(shapes, model_shapes(found_at), base.title)):
            raise InputError(f"the adapter '{name}' does not fit {base.title}: {why}", _WHERE, "Train it on this base.")
        return replace(
            base,
            key=name,
            title=name.rpartition("/")[2],
            role="adapter",
            source=source,
            license="as its card says",
            base=base,
            adapter=folder,
        )

    def _base(self, recorded: object, name: str) -> ModelSpec:
        here = " and ".join(spec.title for spec in self._bases)
        if not isinstance(recorded, str) or not recorded.strip():
            raise InputError(
                f"the adapter '{name}' does not say which model it was trained on",
                _WHERE,
                "Set base_model_name_or_path in its adapter_config.json.",
            )
        for same in (is_model, _is_called):
            for spec in self._bases:
                if same(spec, recorded):
                    return spec
        raise InputError(
            f"the adapter '{name}' was trained on '{_last(recorded)[:80]}', and this studio runs {here}",
            _WHERE,
            "Start the studio with that model as --pair.",
        )


def is_model(spec: ModelSpec, trained_on: str) -> bool:
    """Whether a recorded path or Hub id is this model; the path of a cached snapshot names its Hub id."""
    if trained_on == spec.source:
        return True
    if spec.folder is not None:
        return bool(trained_on) and Path(trained_on).resolve() == spec.folder.resolve()
    return f"models--{spec.source.replace('/', '--')}" in Path(trained_on).parts


def _is_called(spec: ModelSpec, trained_on: str) -> bool:
    """Whether the last part of a path of another machine, or of a mirror's id, is this model's name."""
    names = {spec.key, _last(spec.source), spec.folder.name if spec.folder else ""}
    return _last(trained_on).lower() in {name.lower() for name in names if name}


def _last(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _cached(name: str) -> Path | None:
    """The snapshot of an adapter in the Hub's cache."""
    from huggingface_hub import constants, try_to_load_from_cache

    found = try_to_load_from_cache(name, CONFIG, cache_dir=constants.HF_HUB_CACHE)
    return Path(found).parent if isinstance(found, str) else None


def _fetched(name: str) -> Path | None:
    """A fresh copy from the Hub; None when it cannot be reached, or has no adapter of that name."""
    from huggingface_hub import constants, hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if constants.HF_HUB_OFFLINE:
        return None
    limit_waiting()
    try:
        hf_hub_download(name, CONFIG)
        return Path(snapshot_download(name, allow_patterns=_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError):
        return None
