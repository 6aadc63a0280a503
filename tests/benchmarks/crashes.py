"""`python -m tests.benchmarks.crashes`: ten workers and ten studios killed at random moments, watched in Chromium.

Prints what became of the runs: the row for docs/benchmarks.md. `--kills` of each, `--seed` of the moments.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.conftest import CHROMIUM, FLAGS
from tests.crash_drill import Drill


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10, help="of workers, and as many of studios")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        drill = Drill(Path(folder), asked.seed, browser.new_page())
        with drill.serving():
            for _ in range(asked.kills):
                drill.kill_worker()
                drill.kill_studio()
                print(drill.tally, flush=True)
        browser.close()
    tally = drill.tally
    print("\n| kills | lost | corrupt | unhurt | resumed | said why | largest loss difference |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print(
        f"| {tally.kills} | {tally.lost} | {tally.corrupt} | {tally.unhurt} | {tally.resumed} | {tally.said_why} "
        f"| {tally.apart:.1e} |"
    )
    for fault in tally.faults:
        print(fault)


if __name__ == "__main__":
    main()
