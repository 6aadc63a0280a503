"""Pictures of all eight tabs for the documentation: `python -m tests.browser.screenshots [stage …]`.

Starts a studio of its own, does in each tab what a visitor would do first, and writes
docs/screenshots/<stage>-<desktop|phone>-<light|dark>.png.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from pipelines.stages import STAGES
from tests.browser.conftest import CHROMIUM, FLAGS, ROOT, end_studio, start_studio

PICTURES = ROOT / "docs" / "screenshots"
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
TALLEST = {"desktop": 1800, "phone": 2600}  # pixels of a picture; below is left off
PATIENCE = 600_000  # milliseconds; Practice trains while the picture waits


def problem(page: Page) -> None:
    page.get_by_role("button", name="What is the capital of France?").click()
    for key in ("base-raw", "instruct-chat"):
        expect(page.locator(f".cell-{key}").first).to_contain_text(
            re.compile("stopped by itself|cut off"), timeout=PATIENCE
        )


def practice(page: Page) -> None:
    if "run=" not in page.url:
        page.locator("#stage-practice").get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#stage-practice")).to_contain_text(re.compile("finished", re.IGNORECASE), timeout=PATIENCE)


def base_vs_chat(page: Page) -> None:
    page.locator("#stage-base-vs-chat").get_by_role("button", name="Ask all", exact=True).click()
    page.wait_for_timeout(4_000)


def until(shown: str) -> Callable[[Page], None]:
    """Waits for what the tab draws by itself."""
    return lambda page: expect(page.locator(shown).first).to_be_visible(timeout=PATIENCE)


ACTIONS: dict[str, Callable[[Page], None]] = {
    "sft": until("#stage-sft .mask .piece"),
    "templates": until("#stage-templates .renderings .piece"),
    "lora": until("#stage-lora .data-table"),
    "qlora": until("#stage-qlora .scatter"),
    "problem": problem,
    "practice": practice,
    "base-vs-chat": base_vs_chat,
}


def main(stages: list[str]) -> None:
    """Write the pictures of the named stages, or of all; Practice before Base vs Chat, which shows its adapter."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        process, url = start_studio(Path(directory))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            run = ""
            for scheme in ("light", "dark"):
                run = _pictures(browser, url, scheme, [s.key for s in STAGES if s.key in stages or not stages], run)
        finally:
            browser.close()
            end_studio(process)


def _pictures(browser: Browser, url: str, scheme: str, stages: list[str], run: str) -> str:
    """All pictures in light or dark; returns the id of the run that Practice shows, so that it is trained once."""
    width, height = SIZES["desktop"]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    for stage in stages:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{url}/?tab={stage}" + (f"&run={run}" if run and stage == "practice" else ""))
        page.get_by_role("tab", name="Base vs Chat", exact=True).wait_for()
        page.wait_for_timeout(2_500)
        ACTIONS.get(stage, lambda page: None)(page)
        for device, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(800)
            tall = min(TALLEST[device], page.evaluate("document.documentElement.scrollHeight"))
            page.screenshot(
                path=PICTURES / f"{stage}-{device}-{scheme}.png",
                full_page=True,
                clip={"x": 0, "y": 0, "width": width, "height": tall},
            )
        found = re.search(r"[?&]run=([^&]+)", page.url)
        run = found[1] if found else run
        page.close()
    context.close()
    return run


if __name__ == "__main__":
    main(sys.argv[1:])
