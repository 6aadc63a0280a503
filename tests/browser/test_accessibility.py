"""axe-core finds nothing serious in any tab, light or dark; none scrolls sideways on a phone or with large text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Page

from pipelines.stages import STAGES

pytestmark = pytest.mark.browser

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
FAULTS = """async (part) => (await axe.run(part, {resultTypes: ["violations"]})).violations
  .filter((one) => ["serious", "critical"].includes(one.impact))
  .flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.html.slice(0, 200)} ${node.failureSummary}`))"""
# A code block comes with its text, and is repaired within half a second.
# So the page is judged when it has needed no repair for two seconds, and no text has come meanwhile.
STEADY = """() => {
  const now = [...document.querySelectorAll(".cm-content")].map((one) => one.textContent).join();
  if (document.querySelector('.cm-scroller[tabindex="-1"]') || now !== globalThis.before) {
    globalThis.before = now;
    globalThis.since = performance.now();
  }
  return performance.now() - globalThis.since > 2000;
}"""
WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


def faults_of(page: Page, part: str = "html") -> list[str]:
    """What axe calls serious or critical in that part of the page as it stands."""
    found: list[Any] = page.evaluate(FAULTS, part)
    return [str(one) for one in found]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_tab_has_a_serious_fault(open_page: Callable[..., Page], scheme: str) -> None:
    page = open_page(scheme=scheme)
    page.emulate_media(reduced_motion="reduce", color_scheme=scheme)  # type: ignore[arg-type]
    page.evaluate(AXE)
    faults = {}
    for stage in STAGES:
        page.get_by_role("tab", name=stage.title, exact=True).click()
        page.locator(f"#stage-{stage.key} .step").wait_for()
        page.wait_for_timeout(1_500)  # drawings and calculators fill in
        page.evaluate("globalThis.before = null")
        page.wait_for_function(STEADY, timeout=30_000)
        faults[stage.title] = faults_of(page)
    assert {title: found for title, found in faults.items() if found} == {}


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_beat_of_the_lesson_has_a_serious_fault(open_page: Callable[..., Page], scheme: str) -> None:
    page = open_page("/?beat=problem.analogy", scheme=scheme)
    page.emulate_media(reduced_motion="reduce", color_scheme=scheme)  # type: ignore[arg-type]
    page.evaluate(AXE)
    faults = {}
    for stage in STAGES:
        for beat in ("analogy", "predict", "demonstration", "remember"):
            place = f"{stage.key}.{beat}"
            page.evaluate("(place) => studioBeat.go(place)", place)
            layer = page.locator(f'#presentation[data-shown="{place}"]')
            layer.wait_for()
            # A demonstration that trains is looked at as far as it has come.
            if place not in ("lora.demonstration", "practice.demonstration"):
                page.locator(f'#presentation[data-shown="{place}"][data-done="true"]').wait_for()
            page.wait_for_timeout(300)
            faults[place] = faults_of(page, "#presentation")
    assert {place: found for place, found in faults.items() if found} == {}


@pytest.mark.parametrize(
    ("width", "size"),
    [
        pytest.param(360, "16px", id="narrow phone"),
        pytest.param(1280, "32px", id="text at 200 %", marks=pytest.mark.slow),
    ],
)
def test_no_tab_scrolls_sideways(open_page: Callable[..., Page], width: int, size: str) -> None:
    page = open_page(width=width)
    page.add_style_tag(content=f"html {{ font-size: {size} !important; }}")
    wider = {}
    for stage in STAGES:
        page.get_by_role("tab", name=stage.title, exact=True).click()
        page.locator(f"#stage-{stage.key} .step").wait_for()
        page.wait_for_timeout(400)
        wider[stage.title] = page.evaluate(WIDER)
    assert {title: pixels for title, pixels in wider.items() if pixels > 0} == {}
