"""A run is a directory: whoever can read `runs/<id>/` sees the run where it stands, during and after it.

Order of writes, so that a kill at any moment leaves something true: rows and `config.json` come before the first
event; an event is one line added by a single write; a folder (`adapter/`, `model/`) is filled under another name and
renamed; a checkpoint counts once the event that names it is there. Readers skip a last line that is half written.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.finetune.config import FinetuneConfig

STATUSES = ("queued", "running", "stopped", "finished", "failed")
ENDED = ("stopped", "finished", "failed")
HEARTBEAT_SECONDS = 1.0
# A worker that has not written for this long is gone, even where its process id cannot be asked about
# (another machine). Far above the heartbeat: a swapping machine is slow, not dead.
SILENT_SECONDS = 30.0
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
        """The run of that id. Raises InputError where there is none; never leaves `runs_dir`."""
        known = isinstance(run_id, str) and _ID.fullmatch(run_id) is not None
        if not known or not (runs_dir / run_id / "config.json").is_file():
            raise InputError(f"there is no run '{str(run_id)[:40]}'", "run_id", "Start one in Practice.")
        return cls(runs_dir / run_id)

    @classmethod
    def all(cls, runs_dir: Path) -> list[RunDirectory]:
        """Every complete run, the newest first."""
        if not runs_dir.is_dir():
            return []
        found = [cls(path) for path in runs_dir.iterdir() if _ID.fullmatch(path.name)]
        found = [run for run in found if (run.path / "config.json").is_file()]
        return sorted(found, key=lambda run: (run.path / "config.json").stat().st_mtime, reverse=True)

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
        return list(read_lines(self.path / "events.jsonl"))

    def status(self) -> str:
        """The last status written; it may be out of date where the worker was killed (see `is_dead`)."""
        statuses = [event["status"] for event in self.events() if event["kind"] == "status"]
        return statuses[-1] if statuses else "queued"

    def set_status(self, status: str, error: str = "") -> None:
        if status not in STATUSES:
            raise ValueError(status)
        self.append("status", status=status, **({"error": error} if error else {}))

    def add_samples(self, step: int, answers: Sequence[tuple[str, str]]) -> None:
        """Add (prompt, text) pairs, answered after `step` steps."""
        for prompt, text in answers:
            append_line(self.path / "samples.jsonl", {"step": step, "prompt": prompt, "text": text})

    def progress_before(self) -> tuple[float, int]:
        """(seconds, tokens) that the run this one resumes had worked and seen; zeros for a fresh run."""
        resumed = [event for event in self.events() if event["kind"] == "resumed"]
        return (resumed[-1]["seconds"], resumed[-1]["tokens"]) if resumed else (0.0, 0)

    # The worker's life

    def beat(self) -> None:
        """Say that the worker of this process is alive."""
        pulse = {"pid": os.getpid(), "host": socket.gethostname(), "time": time.time()}
        write_atomically(self.path / "heartbeat.json", json.dumps(pulse))

    def worker_alive(self) -> bool:
        """Whether a worker has this run in hand, of whichever studio."""
        try:
            pulse = json.loads((self.path / "heartbeat.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        if pulse["host"] == socket.gethostname() and not process_alive(pulse["pid"]):
            return False
        return time.time() - pulse["time"] < SILENT_SECONDS

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
        """(step, folder) of every checkpoint that was written to its end, oldest first."""
        steps = sorted({event["step"] for event in self.events() if event["kind"] == "checkpoint"})
        found = [(step, self.path / "checkpoints" / f"checkpoint-{step}") for step in steps]
        return [(step, folder) for step, folder in found if (folder / "trainer_state.json").is_file()]

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
            shutil.copytree(checkpoint, folder, ignore=skipped, dirs_exist_ok=True)

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


def process_alive(pid: int) -> bool:
    """Whether a process of this machine runs. A zombie does not: its parent has only not looked yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state not in ("Z", "X")


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text`, so that a reader sees the old text or the new one, never a part."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Add one JSON line in a single write, which other writers cannot tear apart.

    A line that a killed writer left half is first ended: it must not swallow this one.
    """
    line = json.dumps(value, ensure_ascii=False) + "\n"
    with path.open("ab+", buffering=0) as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode())


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file of lines; half-written lines are passed over, a missing file is empty."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    for line in content.split(b"\n"):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value
