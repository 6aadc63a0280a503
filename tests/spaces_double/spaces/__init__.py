"""Stands in for Hugging Face's `spaces` on ZeroGPU, with the manners that pipelines.models.zero_gpu describes.

A call forks a process, arguments and values are pickled, of an exception only the class comes out, and the process is
kept for the next call of the same function. `calls` notes who asked for how many seconds. There is no GPU.
"""

from __future__ import annotations

import contextvars
import inspect
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import wraps

calls: list[tuple[str, float]] = []
visitor: contextvars.ContextVar[str] = contextvars.ContextVar("visitor", default="")
_fork = multiprocessing.get_context("fork")


def GPU(task=None, *, duration=60):
    return _lend(task, duration) if task is not None else lambda found: _lend(found, duration)


def _lend(task, duration):
    assert inspect.isgeneratorfunction(task), "the studio lends to generators only"
    kept = []

    def work(there, here, stop):
        there.close()  # the studio's end: with it open here, the end of the studio would never be seen
        while True:
            try:
                arguments = pickle.loads(here.recv_bytes())
            except EOFError:
                return
            stop.clear()
            with ThreadPoolExecutor(1) as executor:  # never in the main thread, which alone may set signal handlers
                executor.submit(send, here, stop, arguments).result()

    def send(here, stop, arguments):
        for value in _run(task, arguments):
            if stop.is_set():
                break
            here.send_bytes(pickle.dumps(value))
        here.send_bytes(pickle.dumps(("end", None)))

    @wraps(task)
    def lent(*arguments):
        calls.append((visitor.get(), duration(*arguments) if callable(duration) else duration))
        if not kept:
            there, here = _fork.Pipe()
            stop = _fork.Event()
            process = _fork.Process(target=work, args=(there, here, stop), daemon=True)
            process.start()
            here.close()
            kept.append((process, there, stop))
        process, there, stop = kept.pop()
        there.send_bytes(pickle.dumps(arguments))
        kind = ""
        try:
            while kind != "end":
                kind, value = pickle.loads(there.recv_bytes())
                if kind == "error":
                    raise RuntimeError(f"ZeroGPU worker error: {value}")
                if kind == "value":
                    yield value
        finally:
            stop.set()
            while kind != "end":
                kind, _ = pickle.loads(there.recv_bytes())
            kept.append((process, there, stop))

    return lent


def _run(task, arguments):
    try:
        for value in task(*arguments):
            yield "value", value
    except Exception as error:
        yield "error", type(error).__name__
