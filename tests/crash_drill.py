"""Kills workers and studios at random moments under the eyes of a page, and counts what became of the runs.

A real `studio.py` over the embedded pair, asked by its endpoints; `SIGKILL`, which nobody can answer. Used by
`tests/browser/test_crashes.py` (few kills) and `tests/benchmarks/crashes.py` (twenty).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Error, Page, expect
from safetensors import safe_open

from pipelines.finetune.run import ENDED, RunDirectory
from tests.benchmarks.figures import QUIET, ROOT, Session, free_port, wait_for_page

STEPS = 24
RUN = {"max_steps": STEPS, "batch_size": 4, "eval_steps": 4, "eval_rows": 2, "max_length": 64, "seed": 3}
PATIENCE = 180.0  # seconds


@dataclass(slots=True)
class Tally:
    """What became of the runs that were killed.

    unhurt:    ended before the kill reached them, or went on without the studio
    resumed:   taken up from a checkpoint and finished
    said_why:  killed before their first checkpoint, and said that they have to be started again
    apart:     largest difference of a loss to that of the unbroken run, over all that finished
    """

    kills: int = 0
    lost: int = 0
    corrupt: int = 0
    unhurt: int = 0
    resumed: int = 0
    said_why: int = 0
    apart: float = 0.0
    faults: list[str] = field(default_factory=list)


class Drill:
    """A studio of its own over `folder`, on one port for all of its lives. `page` looks at each run meanwhile."""

    def __init__(self, folder: Path, seed: int, page: Page | None = None) -> None:
        self.runs_dir, self.page, self.tally = folder / "runs", page, Tally()
        self._folder, self._draw, self._port = folder, random.Random(seed), free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """The first life of the studio, and the end of its last."""
        self._start()
        try:
            self.unbroken = self._losses(self._ended(self._begin()))
            yield
        finally:
            assert self._process is not None
            self._process.terminate()
            self._process.wait(60)

    def kill_worker(self) -> None:
        """Start a run, kill its worker at a random moment, resume what can be resumed."""
        run_id = self._begin()
        self._look(run_id)
        pulse = self.runs_dir / run_id / "heartbeat.json"
        wait(lambda: pulse.exists(), "a worker")
        self._wait_for_the_moment(run_id)
        pid = json.loads(pulse.read_text())["pid"]
        if self._call("run", run_id=run_id)["status"] not in ENDED:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        seen = self._ended(run_id)
        self._sees(seen)
        self._judge(run_id, seen)

    def kill_studio(self) -> None:
        """Start a run, kill the studio at a random moment, start it again."""
        run_id = self._begin()
        self._look(run_id)
        self._wait_for_the_moment(run_id)
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._start()
        self._look(run_id)
        seen = self._ended(run_id)
        self._sees(seen)
        self._judge(run_id, seen)

    def _wait_for_the_moment(self, run_id: str) -> None:
        """A random moment of the run, not of the clock: it falls into its training on a machine of any speed.

        One moment in five is before the first step, while models load and rows are labelled.
        """
        step = max(0, self._draw.randrange(-STEPS // 4, STEPS))
        events = RunDirectory(self.runs_dir / run_id)
        wait(lambda: step == 0 or events.status() in ENDED or _steps(events) >= step, "the moment")
        time.sleep(self._draw.uniform(0.0, 0.2 if step else 1.0))

    def _judge(self, run_id: str, seen: dict[str, Any]) -> None:
        tally = self.tally
        tally.kills += 1
        if not (self.runs_dir / run_id / "config.json").is_file():
            tally.lost += 1
            return
        self._check(run_id, seen)
        if seen["status"] == "finished":
            tally.unhurt += 1
        elif seen["adapter"] and "resume it" in seen["error"]:
            resumed = self._begin({"resume_from": run_id})
            after = self._ended(resumed)
            self._check(resumed, after)
            tally.resumed += after["status"] == "finished"
        elif "start it again" in seen["error"]:
            tally.said_why += 1
        else:
            tally.faults.append(f"{run_id}: {seen['status']}, {seen['error']}")

    def _check(self, run_id: str, seen: dict[str, Any]) -> None:
        """Every step once and in order, weights that can be read, and the losses of the unbroken run."""
        run, steps = RunDirectory(self.runs_dir / run_id), [point["step"] for point in seen["loss"]]
        whole = steps == list(range(1, len(steps) + 1)) and (seen["status"] != "finished" or len(steps) == STEPS)
        try:
            if run.adapter:
                json.loads((run.adapter / "adapter_config.json").read_text())
                with safe_open(run.adapter / "adapter_model.safetensors", "pt") as weights:
                    names = list(weights.keys())  # it has no iterator
                    whole = whole and all(bool(weights.get_tensor(key).isfinite().all()) for key in names)
            elif seen["status"] == "finished":
                whole = False
        except Exception as error:
            self.tally.faults.append(f"{run_id}: {error}")
            whole = False
        self.tally.corrupt += not whole
        apart = [abs(a - b) for a, b in zip(self._losses(seen), self.unbroken, strict=False)]
        self.tally.apart = max([self.tally.apart, *apart])

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "studio.py"), "--port", str(self._port), "--runs-dir", str(self.runs_dir)],
            cwd=self._folder, env=os.environ | QUIET, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for_page(self.address, self._process)
        self._session = Session(self.address)

    def _call(self, name: str, **given: Any) -> Any:
        return self._session.call(name, **given)

    def _begin(self, config: dict[str, Any] = RUN) -> str:
        return str(self._call("finetune", config=config)["run_id"])

    def _ended(self, run_id: str) -> dict[str, Any]:
        return wait(
            lambda: (seen := self._call("run", run_id=run_id))["status"] in ENDED and seen, f"the end of {run_id}"
        )

    @staticmethod
    def _losses(seen: dict[str, Any]) -> list[float]:
        return [point["loss"] for point in seen["loss"]]

    def _look(self, run_id: str) -> None:
        if self.page is None:
            return
        for _ in range(5):  # a page that lost its studio reads itself anew when it finds it, and breaks off a visit
            try:
                self.page.goto(f"{self.address}/?tab=practice&run={run_id}")
                return
            except Error:
                time.sleep(1.0)
        raise AssertionError("the page cannot be visited")

    def _sees(self, seen: dict[str, Any]) -> None:
        """The page shows the end that the endpoint tells, with the error in full."""
        if self.page is None:
            return
        practice = self.page.locator("#stage-practice")
        practice.locator(f".run-state.is-{seen['status']}").wait_for(timeout=PATIENCE * 1000)
        expect(practice.get_by_text(f"{len(seen['loss'])} / {STEPS}", exact=True)).to_be_visible()
        if seen["error"]:
            expect(practice.locator(".run-error")).to_have_text(re.compile(re.escape(seen["error"][:60])))


def _steps(run: RunDirectory) -> int:
    return sum(event["kind"] == "step" for event in run.events())


def wait(condition: Any, what: str) -> Any:
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {PATIENCE:.0f} s for {what}")
