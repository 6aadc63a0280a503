"""A visitor's own Jinja, rendered in a process of its own that may take 2 seconds and 512 MiB.

Jinja's sandbox (transformers' own environment) stops a template from reaching Python, not from looping for ever or
multiplying strings. The process is warm, so that an ordinary rendering takes milliseconds; one that misbehaves is
killed and replaced.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.messages import Message, as_dicts
from pipelines.templates.types import Answer, Rendered, Span, TemplateEntry
from pipelines.templates.warnings import TemplateWarning

SECONDS = 2.0
MEMORY = 512 * 2**20  # bytes of address space
MAX_JINJA = 200_000
MAX_TEXT = 8_000_000
WORKERS = 2  # so that one slow template does not make the next person wait
MOST_WAITING = 8  # each keeps a thread of the studio; beyond it the next is told to come again
_START_SECONDS = 60.0
_ROOT = Path(__file__).resolve().parents[2]


def render_own(
    messages: Sequence[Message],
    template: TemplateEntry,
    *,
    add_generation_prompt: bool = False,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> Rendered:
    """`render()` for a text that nobody has checked.

    Raises InputError with the template's message and line, or when it takes too long, too much memory, or writes too
    much.
    """
    answer = _ask(
        template,
        messages=as_dicts(messages),
        add_generation_prompt=add_generation_prompt,
        tools=list(tools) if tools else None,
    )
    spans = tuple(Span(*span) for span in answer["spans"])
    return Rendered(answer["text"], spans, tuple(Answer(*each) for each in answer["answers"]))


def warnings_of_own(template: TemplateEntry) -> tuple[TemplateWarning, ...]:
    """`warnings_of()` for a text that nobody has checked. Raises InputError as `render_own` does."""
    return tuple(TemplateWarning(*each) for each in _ask(template)["warnings"])


def _ask(template: TemplateEntry, **request: Any) -> dict[str, Any]:
    if len(template.jinja) > MAX_JINJA:
        raise InputError(f"{len(template.jinja):,} characters", "jinja", f"At most {MAX_JINJA:,} are read.")
    answer = _pool.ask({"jinja": template.jinja, "special_tokens": dict(template.special_tokens), **request})
    if "error" in answer:
        raise InputError(*answer["error"])
    return answer


def warm_up() -> None:
    """Start a process before somebody needs it; returns at once."""
    threading.Thread(target=_pool.prepare, name="template-sandbox", daemon=True).start()


class _Worker:
    """One process. `ask` raises _Gone when it did not answer in time or died."""

    def __init__(self) -> None:
        environment = {
            "PYTHONPATH": str(_ROOT),
            "PATH": os.environ.get("PATH", ""),
            "HF_HUB_OFFLINE": "1",
            # Each thread of these libraries would reserve address space of its own.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.templates.sandbox_worker", str(MEMORY), str(MAX_TEXT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=_ROOT,
        )
        self._rest = b""
        if self._line(_START_SECONDS) != b"ready":
            self.kill()
            raise InputError("the template sandbox did not start", "jinja", "Try again in a moment.")

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise _Gone("ended") from None
        return dict(json.loads(self._line(SECONDS)))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _line(self, seconds: float) -> bytes:
        """The next line it writes, without its end. Raises _Gone."""
        assert self._process.stdout is not None
        until = time.monotonic() + seconds
        descriptor = self._process.stdout.fileno()
        pieces = [self._rest]
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while b"\n" not in pieces[-1]:
                left = until - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise _Gone("late")
                piece = os.read(descriptor, 1 << 20)
                if not piece:
                    raise _Gone("ended")
                pieces.append(piece)
        line, _, self._rest = b"".join(pieces).partition(b"\n")
        return line


class _Gone(Exception):
    """The process is late, or ended."""


class _Pool:
    """Idle workers. A worker serves one request at a time; at most WORKERS live."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(WORKERS)
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._asked = 0

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with self._queue(), self._places:
            worker = self._take()
            if not self._idle:
                warm_up()  # a spare: should this one be killed, the next person does not wait for a start
            try:
                answer = worker.ask(request)
            except _Gone as gone:
                worker.kill()
                warm_up()
                if str(gone) == "late":
                    what = f"the template took more than {SECONDS:g} seconds and was stopped"
                    raise InputError(what, "jinja", "Look for a loop that multiplies.") from None
                what = f"the template took more than {MEMORY >> 20} MiB of memory and was stopped"
                raise InputError(what, "jinja", "Look for text that is multiplied.") from None
            except BaseException:
                worker.kill()
                raise
            if answer.get("spent"):  # it met its memory limit: what it holds is not known
                worker.kill()
                warm_up()
            else:
                self._give(worker)
            return answer

    @contextmanager
    def _queue(self) -> Iterator[None]:
        """A place among those who work and wait. Raises InputError when there is none."""
        with self._lock:
            if self._asked >= WORKERS + MOST_WAITING:
                raise InputError("other visitors' templates are being rendered", "jinja", "Try again in a moment.")
            self._asked += 1
        try:
            yield
        finally:
            with self._lock:
                self._asked -= 1

    def prepare(self) -> None:
        """Make sure that one is idle."""
        with self._places:
            self._give(self._take())

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()

    def _take(self) -> _Worker:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return _Worker()

    def _give(self, worker: _Worker) -> None:
        with self._lock:
            self._idle.append(worker)


_pool = _Pool()
atexit.register(_pool.close)
