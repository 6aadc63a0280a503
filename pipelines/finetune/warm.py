"""The process that waits for a run with its imports done, and what its end is called."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from pipelines.faults import FULL_SAID, UNTOLD

ROOT = Path(__file__).resolve().parents[2]


class WarmWorker:
    """A worker process that imports what training needs and waits for the directory of a run.

    measure: the device to be timed before it is ready, for which it calls `heard` with what it found; or empty
    """

    def __init__(self, measure: str = "", heard: Callable[[str], None] = lambda text: None) -> None:
        self.ready, self._heard = threading.Event(), heard
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the worker does
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.finetune.worker", "--warm", *(["--measure", measure] if measure else [])],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            # A signal meant for the studio, such as Ctrl-C in its terminal, is not meant for a run.
            start_new_session=True,
            env=os.environ | {"TOKENIZERS_PARALLELISM": "false"},
        )
        threading.Thread(target=self._wait_for_ready, daemon=True).start()

    def begin(self, path: Path) -> None:
        """Hand it a run; it takes it up at once, or as soon as its imports are done."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.close()

    def dismiss(self) -> None:
        """Let it go; it has no run yet."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.terminate()

    def keep_log(self, path: Path) -> None:
        """Write what it said before it had a run of its own to write into: why its imports failed, if they did."""
        if not path.exists():
            self._log.seek(0)
            path.write_bytes(self._log.read())
        self._log.close()

    def _wait_for_ready(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line:
            found = line.partition(" ")[2].strip()
            if found:
                with contextlib.suppress(OSError):  # no room for a few hundred bytes: runs are then not predicted
                    self._heard(found)
            self.ready.set()


def how_it_ended(code: int) -> str:
    if code == UNTOLD:
        return FULL_SAID
    if code == -signal.SIGKILL:
        return "The worker was killed (signal 9), most often because the machine ran out of memory."
    if code < 0:
        return f"The worker was ended by signal {-code}."
    return f"The worker ended with status {code}; worker.log in the run's directory says more."
