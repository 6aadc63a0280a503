"""From a ModelSpec to a complete folder on this machine. Fetches safetensors, JSON and templates only."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.models.hub import limit_waiting, not_fetched
from pipelines.models.loading import has_tokenizer
from pipelines.models.spec import ModelSpec
from pipelines.models.weights import is_complete

Progress = Callable[[float, str], None]  # fraction from 0 to 1, and what is being done

_PATTERNS = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.txt", "tokenizer.model"]
_ELSEWHERE = ["*/*"]  # `original/`, `onnx/`: the same weights in other formats
_WHERE = "model"


class Cancelled(Exception):
    """The person who asked went away, or pressed stop. Not a fault of anybody."""


def locate(spec: ModelSpec, may_download: bool, progress: Progress, cancelled: threading.Event) -> Path:
    """The folder of the weights: its own, the Hub cache's, or a fresh download.

    Raises InputError saying what to do when the model is not here and may not be or cannot be downloaded;
    Cancelled when `cancelled` is set meanwhile.
    """
    if spec.folder is not None:
        if not is_complete(spec.folder):
            raise InputError(f"the weights of '{spec.key}' are not in {spec.source}", _WHERE, "Restore that folder.")
        return spec.folder
    cached = cached_folder(spec)
    if cached is not None:
        return cached
    from huggingface_hub import constants

    fetch = f"{_licence_first(spec)}run `hf download {spec.source}`"
    if constants.HF_HUB_OFFLINE:
        raise InputError(
            f"'{spec.key}' is not on this machine and HF_HUB_OFFLINE is set",
            _WHERE,
            f"Unset it, or {fetch} once where the Hub is reached, or use pocket.",
        )
    if not may_download:
        raise InputError(
            f"'{spec.key}' is not on this machine",
            _WHERE,
            f"Start the studio with it as --pair or with --allow-any-model, or {fetch}.",
        )
    return _download(spec, progress, cancelled)


def cached_folder(spec: ModelSpec) -> Path | None:
    """The complete snapshot of a Hub model in this machine's cache, whichever program put it there.

    `snapshot_download(local_files_only=True)` is not asked: it wants every file of the repository, pickled weights and
    pictures too, which neither this studio nor transformers fetches.
    """
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(spec.source, "config.json")
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if is_complete(folder) else None


def cached_tokenizer(spec: ModelSpec) -> Path:
    """The snapshot of a Hub model in this machine's cache, be it without weights. Raises InputError; asks nobody."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    folder: Path | None = None
    with suppress(LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError):
        folder = Path(snapshot_download(spec.source, local_files_only=True))
    if folder is None or not has_tokenizer(folder):
        raise InputError(
            f"the tokenizer of '{spec.key}' is not on this machine, only the server's answers are",
            _WHERE,
            f"Run `hf download {spec.source} --include 'token*' '*.jinja'`, or name a folder in --pair.",
        )
    return folder


def _licence_first(spec: ModelSpec) -> str:
    return f"accept the licence at {_page(spec)}, `hf auth login`, and " if spec.gated else ""


def _page(spec: ModelSpec) -> str:
    return f"https://huggingface.co/{spec.source}"


def _download(spec: ModelSpec, progress: Progress, cancelled: threading.Event) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    limit_waiting()
    try:
        # Asked first: where the Hub is out of reach, snapshot_download returns whatever part it finds in the cache.
        files = [file.rfilename for file in HfApi().model_info(spec.source).siblings or ()]
        if not any(name.endswith(".safetensors") and "/" not in name for name in files):
            raise InputError(f"'{spec.source}' has no safetensors weights", _WHERE, "The studio loads nothing else.")
        folder = snapshot_download(
            spec.source,
            allow_patterns=_PATTERNS,
            ignore_patterns=_ELSEWHERE,
            tqdm_class=_reporting_bar(progress, cancelled),
        )
    except (Cancelled, InputError):
        raise
    except GatedRepoError as error:
        advice = f"Accept the licence at {_page(spec)}, then `hf auth login` (on a Space: a secret HF_TOKEN)."
        raise InputError(f"'{spec.source}' is gated", _WHERE, advice) from error
    except RepositoryNotFoundError as error:
        raise InputError(f"the Hub has no model '{spec.source}'", _WHERE, "Check the spelling.") from error
    except Exception as error:  # whatever the network stack raises; each version has its own
        raise not_fetched(spec.source, error) from error
    if not is_complete(Path(folder)):
        raise InputError(f"'{spec.source}' did not come whole", _WHERE, "Try again: what is here is kept.")
    return Path(folder)


def _reporting_bar(progress: Progress, cancelled: threading.Event) -> Any:
    """A tqdm that draws nothing, reports bytes, and ends the download when nobody waits for it any more."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **options | {"disable": False, "file": _Nowhere()})

        def update(self, n: float | None = 1) -> bool | None:
            if cancelled.is_set():
                raise Cancelled
            shown = super().update(n)
            if self.total and self.unit == "B":
                progress(0.8 * min(1.0, self.n / self.total), f"downloading, {self.n / 2**20:.0f} MiB")
            return shown

    return Bar


class _Nowhere:
    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass
