"""The page in a browser: its first view beside an eight-tab hello world's, its weight, and the opening of tabs."""

from __future__ import annotations

import time
from statistics import median

from playwright.sync_api import Browser, Page, sync_playwright

from components.app import SCRIPTS
from components.theme import AS_IT_IS, STYLES
from pipelines.stages import STAGES
from tests.benchmarks.figures import ROOT, Figure, serving
from tests.browser.conftest import CHROMIUM, FLAGS

ROUNDS = 5
WARM_UP = 8.0  # seconds for the studio's models to be read, beside which nothing else would be measured
# Milliseconds from the click on a tab to a frame that shows its heading.
OPEN = """async (number) => {
  const began = performance.now(), title = document.querySelectorAll('.stages [role="tab"]')[number];
  title.click();
  const panel = () => document.getElementById(title.getAttribute("aria-controls"));
  while (!(panel()?.querySelector(".step")?.offsetParent)) await new Promise((resolve) => setTimeout(resolve, 2));
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  return performance.now() - began;
}"""


def figures() -> list[Figure]:
    """Medians of `ROUNDS` alternating visits, each in a browser context of its own, after one that is not counted."""
    with (
        serving(ROOT / "tests" / "benchmarks" / "hello.py") as (hello, _),
        serving(ROOT / "studio.py") as (studio, _),
        sync_playwright() as playwright,
    ):
        time.sleep(WARM_UP)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        ours, theirs, first, again = [], [], [], []
        for _ in range(ROUNDS + 1):
            theirs.append(_visited(browser, hello, "Name")[0])
            seconds, page = _visited(browser, studio, "Prompt")
            ours.append(seconds)
            page.wait_for_timeout(1500)
            order = [*range(1, len(STAGES)), 0]
            first += [_opened(page, number) for number in order[:-1]]
            again += [_opened(page, number) for number in order]
            page.context.close()
        browser.close()
    how = f"Chromium, median of {ROUNDS}, in turn"
    weight = sum(path.stat().st_size for path in (*SCRIPTS, *AS_IT_IS, *STYLES))
    return [
        Figure("first view until it takes input, studio", f"{median(ours[1:]):.2f} s", f"{how}; the goal is 2 s"),
        Figure("first view until it takes input, eight-tab hello world", f"{median(theirs[1:]):.2f} s", how),
        Figure("scripts and sheets of our own", f"{weight / 1000:.0f} kB", "uncompressed; the goal is 1.5 MB"),
        Figure("a tab opened for the first time", *_spread(first)),
        Figure("a tab opened again", *_spread(again)),
    ]


def _visited(browser: Browser, address: str, field: str) -> tuple[float, Page]:
    """Seconds from asking for the page until a field of its first tab takes what is typed."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    began = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.get_by_label(field, exact=True).and_(page.locator(":visible")).first.fill("Hello")
    return time.perf_counter() - began, page


def _opened(page: Page, number: int) -> float:
    milliseconds = page.evaluate(OPEN, number)
    page.wait_for_timeout(1000)  # what follows the opening, until nothing is left to do
    return float(milliseconds)


def _spread(milliseconds: list[float]) -> tuple[str, str]:
    return (
        f"{median(milliseconds):.0f} ms ({min(milliseconds):.0f} to {max(milliseconds):.0f})",
        f"median of {len(milliseconds)} openings; the goal is 150 ms",
    )
