"""The command line as a person meets it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.finetune.pulse import process_alive
from pipelines.finetune.run import ENDED, RunDirectory
from tests.benchmarks.figures import QUIET, Session, free_port, wait_for_page

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


def test_a_directory_of_runs_that_cannot_be_written_is_one_line_at_the_start(tmp_path: Path) -> None:
    """Ended here by a taken port; the studio itself goes on."""
    (tmp_path / "file").write_text("")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        ended = studio("--port", str(other.getsockname()[1]), "--runs-dir", str(tmp_path / "file" / "runs"))
    said, taken = ended.stderr.splitlines()
    assert said == (
        "studio.py: nothing can be written into the directory of the runs, 'runs': no run can be started; "
        "everything else works"
    )
    assert "cannot listen on" in taken


def children(pid: int) -> set[int]:
    """The processes that a process has started, and those that they have."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(folder.name)] = int(state[1])
    found, grown = set(), {pid}
    while grown:
        grown = {child for child, parent in parents.items() if parent in grown}
        found |= grown
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not say who started whom")
def test_a_studio_that_is_told_to_end_does_within_five_seconds_and_its_run_can_be_resumed(tmp_path: Path) -> None:
    """SIGTERM in the middle of a run, as a service manager sends it before it kills: no worker is left."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "studio.py"), "--port", str(port), "--runs-dir", str(tmp_path / "runs")],
        cwd=tmp_path, env=os.environ | QUIET, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for_page(f"http://127.0.0.1:{port}", process)
        session = Session(f"http://127.0.0.1:{port}")
        asked = {"max_steps": 5000, "batch_size": 4, "eval_steps": 5, "eval_rows": 2, "max_length": 64}
        run = RunDirectory.open(tmp_path / "runs", session.call("finetune", config=asked)["run_id"])
        while not run.checkpoints():
            assert run.status() not in ENDED
            time.sleep(0.1)
        started = children(process.pid)
        assert started
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert time.monotonic() - began < 5.0
        assert not [pid for pid in started if process_alive(pid)]
    finally:
        process.kill()
        process.wait()
    assert run.status() in ENDED and run.checkpoints() and run.adapter
    assert "resume it" in run.advice()
