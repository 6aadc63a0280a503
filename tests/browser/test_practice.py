"""Practice in a real Chromium: start, curve, reload, a second browser, stop."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.browser
SLOW = 60_000  # milliseconds; a first run may wait for the worker's imports on a busy machine


def set_steps(page: Page, steps: int, looks: int) -> None:
    page.get_by_role("button", name="Hyperparameters").click()
    page.get_by_label("Steps", exact=False).first.fill(str(steps))
    page.get_by_label("Look every", exact=False).fill(str(looks))


def curves(practice: Locator) -> list[str]:
    """The points of every line that is drawn, as they stand in the page."""
    lines = practice.locator(".run-curves polyline.line")
    return [line.get_attribute("points") or "" for line in lines.all()]


@pytest.mark.slow
def test_a_run_is_started_watched_reloaded_shared_and_stopped(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=practice")
    practice = page.locator("#stage-practice")
    set_steps(page, 4000, 10)
    practice.get_by_role("button", name="Start", exact=True).click()
    practice.locator(".run-state.is-running").wait_for(timeout=SLOW)
    practice.locator(".run-curves polyline.s1").first.wait_for(timeout=SLOW)
    practice.locator(".run-samples").get_by_text("before training").wait_for(timeout=SLOW)
    assert "run=" in page.url

    page.reload()
    practice.locator(".run-state.is-running").wait_for(timeout=SLOW)
    practice.locator(".run-curves polyline.s1").first.wait_for(timeout=SLOW)

    other = open_page(page.url.removeprefix(page.url.split("/?")[0]))
    watched = other.locator("#stage-practice")
    watched.locator(".run-curves polyline.s1").first.wait_for(timeout=SLOW)
    title = practice.locator(".run-state b").inner_text()
    expect(watched.locator(".run-state b")).to_have_text(title)

    third = open_page(page.url.removeprefix(page.url.split("/?")[0]))
    third.locator("#stage-practice .run-curves polyline.s1").first.wait_for(timeout=SLOW)
    third.context.close()  # who leaves takes nothing along

    practice.get_by_role("button", name="Stop", exact=True).click()
    practice.locator(".run-state.is-stopped").wait_for(timeout=SLOW)
    watched.locator(".run-state.is-stopped").wait_for(timeout=SLOW)
    # The curve of the one that was read anew, and of the one that came later, is the same to the point.
    deadline = time.monotonic() + SLOW / 1000
    while (mine := curves(practice)) != curves(watched) and time.monotonic() < deadline:
        page.wait_for_timeout(200)  # each page looks twice a second
    assert mine == curves(watched)
    assert len(mine) >= 3 and all(points.count(",") > 1 for points in mine)
    with page.expect_download(timeout=SLOW) as download:
        practice.get_by_role("button", name="Download Adapter", exact=True).click()
    assert download.value.suggested_filename.startswith("adapter-")
    expect(practice.get_by_role("button", name="Resume", exact=True)).to_be_enabled()


def test_a_wrong_setting_is_said_and_nothing_typed_is_lost(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=practice")
    practice = page.locator("#stage-practice")
    page.get_by_role("button", name="Hyperparameters").click()
    rate = page.get_by_label("Learning rate", exact=False).first
    rate.fill("7")
    practice.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("learning_rate: 7").first).to_be_visible()
    expect(rate).to_have_value("7")
