"""Whether a run's worker is alive, as its heartbeat tells: a small file that the worker writes every second.

On this machine its process is asked, by id and time of start, so that neither a clock that jumps nor a machine that
slept makes a living worker look dead, or another process of the same id a dead one alive. Of another machine only the
heartbeat is known: a worker is gone when it has not changed for SILENT_SECONDS, by a clock that never jumps. At the
first look there is nothing to compare with; then the clocks of the two machines have to agree that well.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass, fields
from pathlib import Path

# Far above the heartbeat: a swapping machine is slow, not dead.
SILENT_SECONDS = 30.0
# By heartbeat file: what it said, and since when, by the monotonic clock.
_heard: dict[Path, tuple[str, float]] = {}


@dataclass(frozen=True, slots=True)
class Pulse:
    """One beat. `time`: seconds since 1970; `started`: of the process, as the system counts it, 0 where it does not."""

    pid: int
    host: str
    time: float
    started: int = 0

    @classmethod
    def of_this_process(cls) -> Pulse:
        return cls(os.getpid(), socket.gethostname(), time.time(), process_started(os.getpid()))


def is_alive(path: Path) -> bool:
    """Whether the worker that writes this heartbeat lives; False where there is no heartbeat that can be read."""
    try:
        text = path.read_text(encoding="utf-8")
        known = {field.name for field in fields(Pulse)}
        pulse = Pulse(**{key: value for key, value in json.loads(text).items() if key in known})
        if pulse.host == socket.gethostname():
            if not process_alive(pulse.pid):
                return False
            if pulse.started:
                return process_started(pulse.pid) == pulse.started
        return _is_heard(path, text, abs(time.time() - pulse.time))
    except (OSError, ValueError, TypeError, AttributeError, OverflowError):
        return False


def _is_heard(path: Path, text: str, age: float) -> bool:
    """`age`: seconds since the beat, by the clocks of both machines."""
    now = time.monotonic()
    before = _heard.get(path)
    since = now if before else now - age
    if before and before[0] == text:
        since = before[1]
    if len(_heard) > 1000:
        _heard.clear()
    _heard[path] = text, since
    return now - since < SILENT_SECONDS


def process_alive(pid: int) -> bool:
    """Whether a process of this machine runs. A zombie does not: its parent has only not looked yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    state = _stat(pid)
    return not state or state[0] not in ("Z", "X")


def process_started(pid: int) -> int:
    """Clock ticks from the start of the machine to that of the process; 0 where the system does not say."""
    state = _stat(pid)
    return int(state[19]) if len(state) > 19 else 0


def _stat(pid: int) -> list[str]:
    """The fields of proc(5), stat, from the third on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []
