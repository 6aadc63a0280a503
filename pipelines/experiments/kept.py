"""Results kept by what they were measured with, in `<runs>/.experiments/`, so that a restart does not forget them.

The key is a digest of stage, seed, the files of both models, the code of the pipelines, the facts and the versions of
the libraries: when any of them changes, an old result is not found any more.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pipelines.experiments.reports import Report
from pipelines.finetune.files import write_atomically
from pipelines.models.spec import ModelSpec
from pipelines.settings import Settings
from pipelines.stages import ASSETS

AT_MOST = 500  # files of some kilobytes; the oldest go first
_CODE = Path(__file__).resolve().parents[1]
_LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "numpy")


class Kept:
    """The results of one studio's pair. A directory that cannot be written keeps nothing, and that is no error."""

    def __init__(self, settings: Settings) -> None:
        self._folder, self._settings = settings.runs_dir / ".experiments", settings

    def read(self, stage: str, seed: int) -> Report | None:
        """The result of that experiment, if it was measured with what there is now."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return Report.from_dict(json.loads(self._path(stage, seed).read_text(encoding="utf-8")))
        return None

    def write(self, report: Report) -> None:
        """Keep a result."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(report.as_dict(), ensure_ascii=False)
            write_atomically(self._path(report.claim.stage, report.seed), text)
            files = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
            for path in files[:-AT_MOST]:
                path.unlink(missing_ok=True)

    def _path(self, stage: str, seed: int) -> Path:
        return self._folder / f"{_digest([self._made_with, stage, str(seed)])}.json"

    @cached_property
    def _made_with(self) -> str:
        """Of everything but stage and seed; read once, since code and models do not change under a running studio."""
        from pipelines.models.names import Names

        pair = Names(self._settings).pair
        parts = [f"{name} {_version(name)}" for name in _LIBRARIES]
        parts += [line for spec in (pair.base, pair.instruct) for line in _identity(spec)]
        for path in sorted([*_CODE.rglob("*.py"), *(ASSETS / "facts").glob("*.csv"), *(ASSETS / "pocket").glob("*")]):
            parts.append(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}")
        return _digest(parts)


def _identity(spec: ModelSpec) -> list[str]:
    if spec.folder is None:
        return [spec.source]
    found = [entry for entry in os.scandir(spec.folder) if entry.is_file()]
    return [f"{entry.name} {entry.stat().st_size} {entry.stat().st_mtime_ns}" for entry in sorted(found, key=_name)]


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
