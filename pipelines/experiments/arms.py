"""Several arms at a time: each in a forked process with one thread, as many as there are cores, at most two.

An arm gives the same numbers wherever it runs. A forked process has the imports and the read-only parts of its parent;
it ends when its parent does. Where the system cannot fork, arms run one after the other.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ProcessPoolExecutor, wait
from typing import Any, TypeVar

from pipelines.experiments.bench import Bench
from pipelines.experiments.records import Arm, Progress

Result = TypeVar("Result")
AT_MOST = 2
LOOK = 0.25  # seconds between two looks at the arms
_ASKING = 0.2  # the share of the time that goes into asking, roughly; the rest is steps

# What a forked process finds; set just before the fork.
_tasks: dict[str, Callable[[Bench], Any]] = {}
_bench: Bench | None = None
_steps: Any = None


def cores() -> int:
    """How many arms run at once here."""
    if not sys.platform.startswith("linux"):
        return 1
    return min(AT_MOST, len(os.sched_getaffinity(0)))


def run_arms(
    bench: Bench,
    tasks: Mapping[str, Callable[[Bench], Result]],
    *,
    steps: int,
    says: str,
    drawn: Callable[[Mapping[str, Result]], tuple[Arm, ...]] = lambda done: (),
    span: tuple[float, float] = (0.0, 1.0),
    at_once: int | None = None,
) -> Generator[Progress, None, dict[str, Result]]:
    """Run every task with `bench`, and return the results by name, in the order of `tasks`.

    steps: of all of them together, counted by `bench.step`
    drawn: the arms of the results so far
    span:  the part of the whole experiment's progress that this is
    """
    done: dict[str, Result] = {}

    def progress(walked: int) -> Progress:
        share = (1 - _ASKING) * min(1.0, walked / max(1, steps)) + _ASKING * len(done) / max(1, len(tasks))
        left = [name for name in tasks if name not in done]
        saying = f"{says}: {len(done)} of {len(tasks)} done" + (f", next {left[0]}" if left else "")
        return Progress(span[0] + share * (span[1] - span[0]), saying, drawn(done))

    yield progress(0)
    if (cores() if at_once is None else at_once) < 2:
        for name, task in tasks.items():
            done[name] = task(bench)
            yield progress(round(steps * len(done) / len(tasks)))
        return done
    yield from _forked(bench, dict(tasks), done, progress, at_once or cores())
    return {name: done[name] for name in tasks}


def _forked(
    bench: Bench,
    tasks: dict[str, Callable[[Bench], Any]],
    done: dict[str, Any],
    progress: Callable[[int], Progress],
    at_once: int,
) -> Generator[Progress, None, None]:
    import multiprocessing

    global _tasks, _bench, _steps
    context = multiprocessing.get_context("fork")
    # With a fork all processes begin with the first submission, so they find what is set here.
    _tasks, _bench, _steps = tasks, bench, context.Value("i", 0)
    pool = ProcessPoolExecutor(at_once, mp_context=context, initializer=_begin, initargs=(os.getpid(),))
    try:
        waiting = {pool.submit(_do, name): name for name in tasks}
        while waiting:
            finished, _ = wait(waiting, timeout=LOOK)
            for future in finished:
                done[waiting.pop(future)] = future.result()
            yield progress(_steps.value)
    finally:
        # Also when nobody wants the rest any more: the generator was closed.
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(parent: int) -> None:
    """In the forked process: compute with one thread, and never outlive the parent."""
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _do(name: str) -> Any:
    assert _bench is not None
    _bench.step = _count
    return _tasks[name](_bench)


def _count() -> None:
    with _steps.get_lock():
        _steps.value += 1
