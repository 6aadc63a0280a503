"""Pictures of all eight tabs for the documentation: `python -m tests.browser.screenshots [stage …]`.

Starts a studio of its own, does in each tab what a visitor would do first, and writes
docs/screenshots/<stage>-<desktop|phone>-<light|dark>.png; then presses Prove it, waits for the verdict, and writes
docs/screenshots/<stage>-prove-<desktop|phone>-<light|dark>.png, of the Prove block alone.

    --only tabs|prove|lesson   one of the kinds      --into FOLDER   in another place

The lesson's few are docs/screenshots/lesson-….png; with --out FOLDER every beat is taken at every size, light and dark,
into that folder, with sheets to look them through, and nothing else.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from pipelines.stages import STAGES
from tests.browser import lesson_pictures
from tests.browser.conftest import CHROMIUM, FLAGS, ROOT, end_studio, start_studio

PICTURES = ROOT / "docs" / "screenshots"
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
TALLEST = {"desktop": 1800, "phone": 2600}  # pixels of a picture; below is left off
MARGIN = 16  # pixels above the heading of a Prove block, and below its last line
# From the heading "Prove" to the last line of the verdict, in pixels of the page.
_EDGES = """(tab) => {
  const root = document.querySelector(tab);
  const edge = (element) => element.getBoundingClientRect();
  const heading = [...root.querySelectorAll("h3.verb")].find((one) => one.textContent.trim() === "Prove");
  return [edge(heading).top + scrollY, edge(root.querySelector(".prove-command")).bottom + scrollY];
}"""
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


def proven(page: Page, stage: str) -> None:
    """Presses Prove it of that tab, and waits for the verdict; the second time it is kept, and comes at once."""
    tab = page.locator(f"#stage-{stage}")
    tab.get_by_role("button", name="Prove it").click()
    expect(tab.locator(".prove-verdict").first).to_be_visible(timeout=PATIENCE)


ACTIONS: dict[str, Callable[[Page], None]] = {
    "sft": until("#stage-sft .mask .piece"),
    "templates": until("#stage-templates .renderings .piece"),
    "lora": until("#stage-lora .data-table"),
    "qlora": until("#stage-qlora .scatter"),
    "problem": problem,
    "practice": practice,
    "base-vs-chat": base_vs_chat,
}


def main(arguments: list[str]) -> None:
    """Write the pictures of the named stages, or of all; Practice before Base vs Chat, which shows its adapter."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", default=[stage.key for stage in STAGES])
    parser.add_argument("--only", choices=("tabs", "prove", "lesson"))
    parser.add_argument("--into", type=Path, default=PICTURES)
    parser.add_argument("--out", type=Path, help="every beat of the lesson, into this folder")
    chosen = parser.parse_args(arguments)
    chosen.into.mkdir(parents=True, exist_ok=True)
    stages = [stage.key for stage in STAGES if stage.key in chosen.stages]
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        process, url = start_studio(Path(directory))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            if chosen.out:
                lesson_pictures.every(browser, url, chosen.out, stages)
                return
            if chosen.only in (None, "lesson"):
                lesson_pictures.few(browser, url, chosen.into)
            run = ""
            for scheme in ("light", "dark"):
                if chosen.only in (None, "tabs"):
                    run = _pictures(browser, url, scheme, stages, run, chosen.into)
                if chosen.only in (None, "prove"):
                    _verdicts(browser, url, scheme, stages, chosen.into)
        finally:
            browser.close()
            end_studio(process)


def _pictures(browser: Browser, url: str, scheme: str, stages: list[str], run: str, into: Path) -> str:
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
                path=into / f"{stage}-{device}-{scheme}.png",
                full_page=True,
                clip={"x": 0, "y": 0, "width": width, "height": tall},
            )
        found = re.search(r"[?&]run=([^&]+)", page.url)
        run = found[1] if found else run
        page.close()
    context.close()
    return run


def _verdicts(browser: Browser, url: str, scheme: str, stages: list[str], into: Path) -> None:
    """Pictures of the Prove blocks with their verdicts: from the block's heading to the command that repeats it."""
    width, height = SIZES["desktop"]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    for stage in stages:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{url}/?tab={stage}")
        page.get_by_role("tab", name="Base vs Chat", exact=True).wait_for()
        page.wait_for_timeout(2_500)
        proven(page, stage)
        for device, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(800)
            top, bottom = page.evaluate(_EDGES, f"#stage-{stage}")
            page.screenshot(
                path=into / f"{stage}-prove-{device}-{scheme}.png",
                full_page=True,
                clip={"x": 0, "y": max(0, top - MARGIN), "width": width, "height": bottom - top + 2 * MARGIN},
            )
        page.close()
    context.close()


if __name__ == "__main__":
    main(sys.argv[1:])
