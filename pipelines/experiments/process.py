"""An experiment's process from outside: start it, read its lines, end it with everything that it started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pipelines.errors import InputError
from pipelines.experiments.records import Progress
from pipelines.experiments.reports import Report, command, read_progress
from pipelines.models import zero_gpu

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """A running experiment. `lines` ends with a Report, or raises; `kill` may be called at any time, by anyone."""

    def __init__(self, stage: str, seed: int, pair: str) -> None:
        self._command = command(stage, seed, pair)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.experiments", stage, f"--seed={seed}", f"--pair={pair}", "--watched"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            # Of its own, so that one signal reaches what it forked, and Ctrl-C in the studio's terminal does not.
            start_new_session=True,
            env=zero_gpu.without() | {"TOKENIZERS_PARALLELISM": "false"},
        )

    @property
    def pid(self) -> int:
        """The number of the process, and of its group."""
        return self._process.pid

    def lines(self) -> Iterator[Progress | Report]:
        """What it says. Raises InputError for what a person can mend, RuntimeError when it ended without a result."""
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                value = json.loads(line)
                if value["kind"] == "error":
                    raise InputError(str(value["text"]).removesuffix("."), "", "")
                if value["kind"] == "result":
                    yield Report.from_dict(value)
                    return
                yield read_progress(value)
            raise RuntimeError(f"the experiment ended without a result; to see why, run: {self._command}")
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once, and what it forked; returns when it is gone. Of an ended one, nothing is left to end."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
