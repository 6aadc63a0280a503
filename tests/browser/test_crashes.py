"""Workers and studios killed under the eyes of a page: no run is lost, and each tells its end.

CRASHES=10 kills ten of each; the figures of docs/benchmarks.md are from `tests/benchmarks/crashes.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.crash_drill import Drill

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1800)]
KILLS = int(os.environ.get("CRASHES", "2"))


def test_no_run_is_lost_to_a_killed_worker_or_studio(chromium: Browser, tmp_path: Path) -> None:
    context = chromium.new_context()
    drill = Drill(tmp_path, seed=11, page=context.new_page())
    with drill.serving():
        for _ in range(KILLS):
            drill.kill_worker()
            drill.kill_studio()
    context.close()
    tally = drill.tally
    assert (tally.lost, tally.corrupt, tally.faults) == (0, 0, [])
    assert tally.kills == 2 * KILLS == tally.unhurt + tally.resumed + tally.said_why
    assert tally.resumed
    assert tally.apart <= 1e-4
