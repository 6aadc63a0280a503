"""A run is a directory: whoever can read `runs/<id>/` sees the run where it stands, during and after it.

Order of writes, so that a kill at any moment leaves something true: rows and `config.json` come before the first
event; an event is one line added by a single write; a folder (`adapter/`, `model/`) is filled under another name and
renamed; a checkpoint counts once the event that names it is there, and its files are whole
(`pipelines.finetune.checkpoints`). Readers skip lines that are half written or were damaged.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.finetune.checkpoints import damage
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.files import alone, append_line, link, read_lines, write_atomically
from pipelines.finetune.pulse import Pulse, is_alive

STATUSES = ("queued", "running", "stopped", "finished", "failed")
ENDED = ("stopped", "finished", "failed")
HEARTBEAT_SECONDS = 1.0
# What each kind of event has besides kind and time; one that was damaged and lacks a part of it is passed over.
_PARTS = {
    "status": ("status",),
    "phase": ("text",),
    "resumed": ("step", "seconds", "tokens"),
    "step": ("step", "loss", "tokens", "seconds"),
    "heldout": ("step", "loss"),
    "eval": ("step", "seconds"),
    "checkpoint": ("step",),
    "measured": tuple("device host cores memory baseline start stepping looking steps looks".split()),
}
_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The base of a run, as the worker can load it without the studio.

    key:        its name in the studio
    source:     a folder of this machine, or a Hub id; revision: of the Hub id, may be empty
    shown:      the source as it may be shown and exported: never a path of this machine
    parameters: weights of the base; context: its longest sequence, tokens
    template:   key of the chat template it is trained with, empty where it is the tokenizer's own
    license:    of the base, as its catalogue row or model card says
    continues:  name of the adapter that training starts from ("run:<id>"), whose files are in `start/`; or empty
    """

    key: str
    source: str
    shown: str
    revision: str = ""
    parameters: int = 0
    context: int = 512
    template: str = ""
    license: str = ""
    continues: str = ""


def is_folder(model: TrainedModel) -> bool:
    """Whether the base is a folder of this machine, which has to travel with the script."""
    return model.source != model.shown


class RunDirectory:
    """Reading and writing one run. Holds no state but the path, so any number may exist for one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name

    @classmethod
    def create(cls, runs_dir: Path) -> RunDirectory:
        """A new, empty run. Its id cannot be guessed: who has it may see and stop the run."""
        run = cls(runs_dir / secrets.token_hex(8))
        run.path.mkdir(parents=True)
        return run

    @classmethod
    def open(cls, runs_dir: Path, run_id: str) -> RunDirectory:
        """The run of that id. Raises InputError where there is none, or it is damaged; never leaves `runs_dir`."""
        known = isinstance(run_id, str) and _ID.fullmatch(run_id) is not None
        if not known or not (runs_dir / run_id / "config.json").is_file():
            raise InputError(f"there is no run '{str(run_id)[:40]}'", "run_id", "Start one in Practice.")
        if not _is_readable(runs_dir / run_id / "config.json"):
            raise InputError(
                f"the config.json of run {run_id[:6]} cannot be read",
                "run_id",
                "Put a copy of it back, or start a new run; the other runs are not concerned.",
            )
        return cls(runs_dir / run_id)

    @classmethod
    def all(cls, runs_dir: Path) -> list[RunDirectory]:
        """Every complete run, the newest first. One whose configuration is damaged is passed over."""
        if not runs_dir.is_dir():
            return []
        found: list[tuple[float, RunDirectory]] = []
        for path in runs_dir.iterdir():
            # One may be deleted meanwhile.
            with contextlib.suppress(OSError):
                if _ID.fullmatch(path.name) and _is_readable(path / "config.json"):
                    found.append(((path / "config.json").stat().st_mtime, cls(path)))
        return [run for _, run in sorted(found, key=lambda each: each[0], reverse=True)]

    # Configuration and rows

    def configure(self, config: FinetuneConfig, model: TrainedModel, device: str = "auto") -> None:
        """Write what the run is: from here on it is listed. `device`: auto, cpu, cuda or mps."""
        record = {
            "run_id": self.id,
            "created": time.time(),
            "model": model.key,
            "device": device,
            "base": asdict(model),
            "config": config.as_dict(),
        }
        write_atomically(self.path / "config.json", json.dumps(record, indent=1, ensure_ascii=False))

    @property
    def record(self) -> dict[str, Any]:
        """config.json as it is: run_id, created (seconds since 1970), model (its name), device, base, config."""
        return json.loads((self.path / "config.json").read_text(encoding="utf-8"))

    @property
    def config(self) -> FinetuneConfig:
        return FinetuneConfig.from_dict(self.record["config"])

    @property
    def model(self) -> TrainedModel:
        return TrainedModel(**self.record["base"])

    # Events

    def append(self, kind: str, **fields: Any) -> None:
        """Add one event; `time` (seconds since 1970) is added to it."""
        append_line(self.path / "events.jsonl", {"kind": kind, "time": time.time(), **fields})

    def events(self) -> list[dict[str, Any]]:
        """Every event that can be read, in the order of writing."""
        return [event for event in read_lines(self.path / "events.jsonl") if _is_event(event)]

    def status(self) -> str:
        """The last status written; it may be out of date where the worker was killed (see `worker_alive`)."""
        statuses = [event["status"] for event in self.events() if event["kind"] == "status"]
        return statuses[-1] if statuses else "queued"

    def set_status(self, status: str, error: str = "", seconds: float | None = None) -> None:
        """`seconds`: since the run began to work, of a worker that ends it: it alone has a clock that never jumps."""
        if status not in STATUSES:
            raise ValueError(status)
        told = {"error": error or None, "seconds": seconds}
        self.append("status", status=status, **{key: value for key, value in told.items() if value is not None})

    def add_samples(self, step: int, answers: Sequence[tuple[str, str]]) -> None:
        """Add (prompt, text) pairs, answered after `step` steps."""
        for prompt, text in answers:
            append_line(self.path / "samples.jsonl", {"step": step, "prompt": prompt, "text": text})

    def samples(self) -> list[dict[str, Any]]:
        """Every answer that can be read: step, prompt, text."""
        lines = read_lines(self.path / "samples.jsonl")
        return [line for line in lines if {"step", "prompt", "text"} <= line.keys()]

    def progress_before(self) -> tuple[float, int]:
        """(seconds, tokens) that the run this one resumes had worked and seen; zeros for a fresh run."""
        resumed = [event for event in self.events() if event["kind"] == "resumed"]
        return (resumed[-1]["seconds"], resumed[-1]["tokens"]) if resumed else (0.0, 0)

    # The worker's life

    def beat(self) -> None:
        """Say that the worker of this process is alive."""
        write_atomically(self.path / "heartbeat.json", json.dumps(asdict(Pulse.of_this_process())))

    def take(self) -> bool:
        """Make this process the run's worker; False where another one has it.

        Of several that ask in the same moment, such as the workers of two studios over one directory, one is told True.
        """
        with alone(self.path / "taking"):
            if self.worker_alive():
                return False
            self.beat()
            return True

    def worker_alive(self) -> bool:
        """Whether a worker has this run in hand, of whichever studio."""
        return is_alive(self.path / "heartbeat.json")

    def leave_to_others(self) -> None:
        """Say that this run is launched by hand: a studio that finds it waiting does not begin it."""
        (self.path / "launched-by-hand").touch()

    @property
    def left_to_others(self) -> bool:
        return (self.path / "launched-by-hand").exists()

    def ask_to_stop(self) -> None:
        """The worker looks for this file after every step."""
        (self.path / "stop").touch()

    @property
    def stop_asked(self) -> bool:
        return (self.path / "stop").exists()

    # What it leaves

    @property
    def adapter(self) -> Path | None:
        """The folder of the trained adapter, once it is complete."""
        return self.path / "adapter" if (self.path / "adapter" / "adapter_config.json").is_file() else None

    @property
    def start(self) -> Path | None:
        """The folder of the adapter that this run trains further; None where it begins with one of its own."""
        return self.path / "start" if (self.path / "start" / "adapter_config.json").is_file() else None

    @property
    def full_model(self) -> Path | None:
        """The folder of the fully fine-tuned model, once it is complete."""
        return self.path / "model" if (self.path / "model" / "config.json").is_file() else None

    def checkpoints(self) -> list[tuple[int, Path]]:
        """(step, folder) of every checkpoint that was written to its end and is whole, oldest first."""
        return [(step, folder) for step, folder in self._named() if not damage(folder, step)]

    def damaged(self) -> str:
        """What is wrong with the last checkpoint that is not whole, as part of a sentence; empty where all are."""
        found = [(step, why) for step, folder in self._named() if folder.is_dir() and (why := damage(folder, step))]
        return f"the checkpoint of step {found[-1][0]} is damaged ({found[-1][1]})" if found else ""

    def _named(self) -> list[tuple[int, Path]]:
        steps = sorted({event["step"] for event in self.events() if event["kind"] == "checkpoint"})
        return [(step, self.path / "checkpoints" / f"checkpoint-{step}") for step in steps]

    def drop_half_checkpoint(self) -> None:
        """Delete what was being written when the disk was full, which no event names: it only takes room."""
        named = {folder.name for _, folder in self._named()}
        for folder in (self.path / "checkpoints").glob("checkpoint-*"):
            if folder.name not in named:
                shutil.rmtree(folder, ignore_errors=True)

    def keep_last_checkpoint(self) -> None:
        """Offer the adapter of the last checkpoint of a run that broke off, where it left none itself."""
        saved = self.checkpoints()
        if not saved or self.adapter or self.full_model:
            return
        checkpoint = saved[-1][1]
        name = "adapter" if (checkpoint / "adapter_config.json").is_file() else "model"
        # "ref" is the copy of its first adapter that TRL's DPO compares with.
        skipped = shutil.ignore_patterns(
            "ref", "optimizer*", "scheduler*", "rng_state*", "trainer_state*", "training_args*"
        )
        with self.folder(name) as folder:
            # Linked: the files of a checkpoint are never changed, and the disk may be what broke the run off.
            shutil.copytree(checkpoint, folder, ignore=skipped, dirs_exist_ok=True, copy_function=link)

    def advice(self) -> str:
        """What a person can do about a run that broke off."""
        saved = self.checkpoints()
        if saved:
            return f"{saved[-1][0]} steps are saved: resume it, and it goes on from there."
        return "No checkpoint was written yet: start it again."

    @contextlib.contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """A folder that appears under `name` only when the with-block ends well."""
        partial, final = self.path / f".{name}.{secrets.token_hex(4)}", self.path / name
        partial.mkdir()
        try:
            yield partial
            if final.exists():
                shutil.rmtree(final)
            partial.rename(final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@lru_cache(maxsize=4096)
def _parses(path: Path, stamp: tuple[int, int]) -> bool:
    """Whether a config.json of that state (time of change, size) says what a run is."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        FinetuneConfig.from_dict(record["config"])
        TrainedModel(**record["base"])
        return isinstance(record["model"], str) and float(record["created"]) > 0 and isinstance(record["device"], str)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _is_readable(path: Path) -> bool:
    """Raises OSError where there is no such file."""
    state = path.stat()
    return _parses(path, (state.st_mtime_ns, state.st_size))


def _is_event(event: Mapping[str, Any]) -> bool:
    kind = event.get("kind")
    return isinstance(kind, str) and "time" in event and all(part in event for part in _PARTS.get(kind, ()))
