"""A long day in a few minutes: people who do everything at random, while workers are killed.

    python -m tests.hostile.soak [--minutes 30] [--people 30] [--pause 3] [--kill-every 120] [--seed 0]

Printed at the end, and each minute on the way: calls and faults, the runs and how each ended, 95 of 100 waits for a
calculator, and the studio's memory, open files and threads after the first third, when everything is warm, and at the
end. The calculators are timed twice: through the clients of all those people, who share one process, and by a process
that does nothing else. A run is lost when it neither ended nor says why nor can be resumed. The exit status is 1 when
something is lost, a call fails in another way than with a message, or a file handle leaks.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from tests.benchmarks.figures import Session
from tests.browser.conftest import end_studio, start_studio
from tests.hostile.fuzz import unmeant

PROMPTS = ("The capital of France is", "What is the capital of Peru?", "A honeybee is", "Name a river of Egypt.")
PAIRS = [{"instruction": f"What is number {n}?", "response": f"It is a {n}."} for n in range(4)]
CALCULATORS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/lora", {"model": "llama-3.1-8b", "r": 16}),
    ("/memory", {"model": "llama-3.1-70b"}),
    ("/render", {"messages": [{"role": "user", "content": "hi"}], "template": "chatml"}),
    ("/templates", {}),
    ("/models", {}),
)


class Day:
    """What all people together have seen. Counted under a lock; read when all have gone."""

    def __init__(self, url: str, rows: Path, pause: float) -> None:
        self.url, self.rows, self.pause = url, rows, pause
        self.calls: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.waits: list[float] = []
        self.runs: list[str] = []
        self.over = threading.Event()
        self.lock = threading.Lock()


class Person:
    """One browser: a session that is left and begun anew now and then."""

    def __init__(self, day: Day, number: int, seed: int) -> None:
        self._day, self._draw = day, random.Random(f"{seed}/{number}")
        self._client = Client(day.url, verbose=False)

    def live(self) -> None:
        """Do one thing after another until the day is over."""
        things: list[tuple[int, Callable[[], None]]] = [
            (8, self._calculate), (5, self._generate), (2, self._leave),
            (2, self._upload), (1, self._train), (1, self._reload),
        ]  # fmt: skip
        weights, doings = zip(*things, strict=True)
        while not self._day.over.is_set():
            doing = self._draw.choices(doings, weights)[0]
            name = doing.__name__.strip("_")
            try:
                doing()
                kind = self._day.calls
            except AppError:
                kind = self._day.refused  # a sentence, such as that one run at a time is enough
            except Exception as error:
                kind, name = self._day.broken, f"{name}: {type(error).__name__} {str(error)[:120]}"
            with self._day.lock:
                kind[name] += 1
            self._day.over.wait(self._draw.expovariate(1 / self._day.pause))

    def _calculate(self) -> None:
        endpoint, arguments = self._draw.choice(CALCULATORS)
        begin = time.perf_counter()
        self._client.predict(**arguments, api_name=endpoint)
        with self._day.lock:
            self._day.waits.append(time.perf_counter() - begin)

    def _generate(self) -> None:
        prompt, model = self._draw.choice(PROMPTS), self._draw.choice(("base", "instruct"))
        self._client.predict(prompt=prompt, model=model, max_new_tokens=40, temperature=0.8, api_name="/complete")

    def _leave(self) -> None:
        job = self._client.submit(prompt=self._draw.choice(PROMPTS), max_new_tokens=200, api_name="/complete")
        self._day.over.wait(0.3 * self._draw.random())
        job.cancel()

    def _upload(self) -> None:
        self._client.predict(file=handle_file(str(self._day.rows)), limit=5, api_name="/dataset")

    def _train(self) -> None:
        config = {"pairs": PAIRS, "max_steps": self._draw.randint(2, 30), "eval_rows": 8}
        run = self._client.predict(config=config, api_name="/finetune")["run_id"]
        with self._day.lock:
            self._day.runs.append(run)
        if self._draw.random() < 0.2:
            self._client.predict(run_id=run, api_name="/stop")

    def _reload(self) -> None:
        with suppress(Exception):
            self._client.close()
        self._client = Client(self._day.url, verbose=False)


def time_calculators(url: str, over: Event, waits: Queue[float]) -> None:
    """One visitor who asks the calculators in turn, over plain HTTP as the page does, until the day is over."""
    session = Session(url)
    while not over.is_set():
        for endpoint, arguments in CALCULATORS:
            begin = time.perf_counter()
            session.call(endpoint.removeprefix("/"), **arguments)
            waits.put(time.perf_counter() - begin)
            over.wait(0.2)


def usage(pid: int) -> dict[str, int]:
    """Of the studio's process: resident bytes, open files, threads."""
    status = Path(f"/proc/{pid}/status").read_text()
    values = {line.split(":")[0]: line.split(":")[1].split() for line in status.splitlines() if ":" in line}
    return {
        "memory": int(values["VmRSS"][0]) * 1024,
        "files": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": int(values["Threads"][0]),
    }


def kill_a_worker(runs: Path) -> bool:
    """SIGKILL the process that trains a run, if one does."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError, ValueError):
            command = path.read_bytes().split(b"\0")
            at = Path(f"/proc/{path.parent.name}/cwd")
            if b"pipelines.finetune.worker" in command and at.exists():
                open_files = [os.readlink(each) for each in (path.parent / "fd").iterdir()]
                if any(str(runs) in name for name in open_files):
                    os.kill(int(path.parent.name), signal.SIGKILL)
                    return True
    return False


def soak(minutes: float, people: int, pause: float, kill_every: float, seed: int) -> int:
    """Live the day, print it; the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        rows = directory / "rows.jsonl"
        rows.write_text("".join(json.dumps({"instruction": f"q{n}", "response": f"a{n}"}) + "\n" for n in range(200)))
        process, url = start_studio(directory)
        day = Day(url, rows, pause)
        persons = [Person(day, number, seed) for number in range(people)]
        threads = [threading.Thread(target=person.live, daemon=True) for person in persons]
        apart = multiprocessing.get_context("spawn")
        over, timed, waits = apart.Event(), apart.Queue(), []
        timer = apart.Process(target=time_calculators, args=(url, over, timed), daemon=True)
        [each.start() for each in (timer, *threads)]
        began, killed, measured = time.monotonic(), 0, []
        next_kill, next_word = began + kill_every, began + 60
        while (now := time.monotonic()) < began + 60 * minutes:
            time.sleep(5)
            measured.append((now - began, usage(process.pid)))
            while not timed.empty():
                waits.append(timed.get())
            if now > next_kill and kill_a_worker(directory / "runs"):
                killed, next_kill = killed + 1, now + kill_every
            if now > next_word:
                next_word = now + 60
                print(f"{(now - began) / 60:4.0f} min {measured[-1][1]} {day.calls.total()} calls", flush=True)
        day.over.set()
        over.set()
        timer.join(30)
        [thread.join(120) for thread in threads]
        ends, lost = settle(url, day.runs)
        time.sleep(10)
        last = usage(process.pid)
        status = end_studio(process)
        raised = unmeant((directory / "studio.log").read_text(encoding="utf-8", errors="replace"))
    warm = [each for at, each in measured if at > 20 * minutes]
    print(f"\n{people} people, {pause:g} s on average between two things that one does, {minutes:g} minutes")
    print(f"{killed} workers killed; the studio ended with status {status}")
    print("calls", dict(day.calls), "| refused with a sentence", dict(day.refused), "| broken", dict(day.broken))
    print(f"runs: {len(day.runs)} started, {dict(ends)}, lost {lost or 'none'}")
    for who, seen in (("a visitor alone in a process", waits), ("all those people", day.waits)):
        p95 = statistics.quantiles(seen, n=20)[-1]
        print(f"calculators, {who}: {len(seen)} calls, median {statistics.median(seen):.3f} s, p95 {p95:.3f} s")
    for name in ("memory", "files", "threads"):
        values = [each[name] for each in warm]
        print(f"{name}: {values[0]:,} when warm, {max(values):,} at most, {last[name]:,} when all have gone")
    for what, times in raised.most_common():
        print(f"RAISED {times} x {what}")
    leaks = last["files"] > warm[0]["files"] + 10
    return 1 if lost or day.broken or raised or leaks or status or timer.exitcode else 0


def settle(url: str, runs: list[str]) -> tuple[Counter[str], list[str]]:
    """Stop what still waits, and ask of each run how it ended; the ids of those that are lost."""
    client = Client(url, verbose=False)
    ends: Counter[str] = Counter()
    lost = []
    for run in reversed(runs):
        with suppress(AppError):
            client.predict(run_id=run, api_name="/stop")
    for run in runs:
        try:
            state = client.predict(run_id=run, api_name="/run")
        except AppError:
            lost.append(run)
            continue
        ends[state["status"]] += 1
        if state["status"] in ("queued", "running") or (state["status"] == "failed" and not state["error"]):
            lost.append(run)
    return ends, lost


def main() -> int:
    """Read the options and live the day."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--pause", type=float, default=3.0, help="mean seconds between two things that a person does")
    parser.add_argument("--kill-every", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    return soak(chosen.minutes, chosen.people, chosen.pause, chosen.kill_every, chosen.seed)


if __name__ == "__main__":
    sys.exit(main())
