"""What trains or proves for the studio leaves it the cores that it wants."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.finetune.warm import WarmWorker
from pipelines.priority import GIVES_WAY

pytestmark = pytest.mark.skipif(not hasattr(os, "nice"), reason="this system knows no niceness")


def test_a_process_gives_way_once() -> None:
    session = Path("/proc/self/autogroup")
    before = session.read_text() if session.exists() else ""
    asked = "import os; from pipelines.priority import give_way; give_way(); give_way(); print(os.nice(0))"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    assert int(said) == max(GIVES_WAY, os.nice(0))
    assert not before or session.read_text() == before, "it spoke for everybody in this session"


def test_a_worker_of_the_studio_gives_way() -> None:
    worker = WarmWorker()
    try:
        ended = time.monotonic() + 60
        while os.getpriority(os.PRIO_PROCESS, worker.process.pid) < GIVES_WAY:
            assert worker.process.poll() is None and time.monotonic() < ended, "it never gave way"
            time.sleep(0.05)
        autogroup = Path(f"/proc/{worker.process.pid}/autogroup")
        assert not autogroup.exists() or autogroup.read_text().strip().endswith(f"nice {GIVES_WAY}")
    finally:
        worker.dismiss()
        worker.process.wait(20)
