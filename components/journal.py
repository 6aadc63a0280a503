"""The studio's own log: one JSON object a line on standard error, without a word that a visitor typed.

An exception's text often repeats its input, so of a fault only its kind is written, and where in the code it happened.
"""

from __future__ import annotations

import json
import sys
import threading
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_writing = threading.Lock()


def record(event: str, **facts: Any) -> None:
    """Write one line: time (UTC), event, and the facts, which are the studio's own words and numbers."""
    line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event} | facts)
    with _writing:
        print(line, file=sys.stderr, flush=True)


def record_fault(error: BaseException, while_doing: str) -> None:
    """An exception that nobody expected: its kind, and its way through our files, innermost last."""
    frames = [(Path(frame.filename), frame) for frame in traceback.extract_tb(error.__traceback__)]
    ours = [(path, frame) for path, frame in frames if path.is_relative_to(_ROOT) and "site-packages" not in path.parts]
    way = [f"{path.relative_to(_ROOT)}:{frame.lineno}" for path, frame in ours[-8:]]
    within = "".join(f"{path.name}:{frame.lineno} {frame.name}" for path, frame in frames[-1:])
    record("fault", kind=type(error).__name__, doing=while_doing, way=way, within=within)
