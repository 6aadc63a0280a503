"""The command line as a person meets it."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def studio(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "studio.py"), *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = studio("--port", str(port))
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr and "--port" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "part"),
    [(["--port", "x"], "'x' is not a port"), (["--pair", "pockt"], "pocket"), (["--device", "tpu"], "cpu")],
)
def test_a_wrong_value_is_one_clear_line_and_status_two(arguments: list[str], part: str) -> None:
    ended = studio(*arguments)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1 and part in ended.stderr


def test_a_signal_that_another_thread_receives_ends_the_wait() -> None:
    code = (
        "import signal, threading, time\n"
        "from studio import wait\n"
        "ended = threading.Event()\n"
        "signal.signal(signal.SIGTERM, lambda *_: ended.set())\n"
        "def deliver():\n"
        "    time.sleep(0.3)\n"
        "    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)\n"
        "threading.Thread(target=deliver).start()\n"
        "wait(ended)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=20, check=True)
