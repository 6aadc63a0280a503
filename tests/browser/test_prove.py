"""The Prove block in a real Chromium: from the click to the verdict, cancelled, and asked by two at once."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SLOW = 180_000  # milliseconds; on a machine that does other work at the same time


def test_a_claim_is_stated_first_and_proven_from_one_click(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=problem")
    block = page.locator("#stage-problem")
    expect(block.locator(".prove-claim")).to_contain_text("Holds if")
    expect(block.locator(".prove-verdict")).to_have_count(0)
    block.get_by_label("Seed", exact=True).last.fill("11")
    block.get_by_role("button", name="Prove it").click()
    expect(block.locator(".prove-state")).to_contain_text(re.compile(r"\d s$"), timeout=SLOW)
    expect(block.get_by_role("button", name="Prove it")).to_be_disabled()
    expect(block.locator(".prove-verdict")).to_contain_text("Holds", timeout=SLOW)
    expect(block.locator(".arm .whisker")).to_have_count(5)
    expect(block.locator(".prove-sides")).to_contain_text(re.compile(r"Claimed.*Measured", re.DOTALL))
    expect(block.locator(".prove-command")).to_have_text("python -m pipelines.experiments problem --seed 11")
    expect(block.get_by_role("button", name="Prove it")).to_be_enabled()
    expect(block.get_by_role("button", name="Cancel", exact=True)).to_be_disabled()


def test_cancel_ends_it_and_the_next_one_can_begin(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=problem", width=390, height=844)
    block = page.locator("#stage-problem")
    block.get_by_label("Seed", exact=True).last.fill("12")
    block.get_by_role("button", name="Prove it").click()
    block.locator(".prove-bar").wait_for(timeout=SLOW)
    block.get_by_role("button", name="Cancel", exact=True).click()
    expect(block.locator(".prove-state")).to_contain_text("Cancelled")
    expect(block.get_by_role("button", name="Prove it")).to_be_enabled()
    page.wait_for_timeout(1500)
    expect(block.locator(".prove-state")).to_contain_text("Cancelled")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_two_who_prove_at_once_both_get_their_verdict(open_page: Callable[..., Page]) -> None:
    pages = [open_page("/?tab=problem"), open_page("/?tab=problem")]
    for seed, page in zip(("13", "14"), pages, strict=True):
        block = page.locator("#stage-problem")
        block.get_by_label("Seed", exact=True).last.fill(seed)
        block.get_by_role("button", name="Prove it").click()
    expect(pages[1].locator("#stage-problem .prove-state")).to_contain_text("next in the queue", timeout=SLOW)
    for page in pages:
        expect(page.locator("#stage-problem .prove-verdict")).to_be_visible(timeout=SLOW)


def test_a_claim_of_ones_own_is_stated_and_measured(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=practice")
    own = page.locator("#stage-practice .own-claim")
    own.get_by_role("button", name="A claim of your own").click()
    for label, value in (("A: Steps", "20"), ("B: Steps", "2"), ("A: Rank r", "4"), ("B: Rank r", "4")):
        own.get_by_label(label, exact=True).fill(value)
    expect(own.locator(".prove-claim")).to_contain_text("A (steps 20) is better than B (steps 2)")
    own.get_by_role("button", name="Measure", exact=True).click()
    expect(own.locator(".prove-verdict")).to_contain_text("Holds", timeout=SLOW)
    expect(own.locator(".arm .whisker")).to_have_count(2)
    expect(own.locator(".prove-command")).to_contain_text("python -m pipelines.experiments 'own")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_wrong_seed_is_said(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=problem")
    block = page.locator("#stage-problem")
    block.get_by_label("Seed", exact=True).last.fill("-3")
    block.get_by_role("button", name="Prove it").click()
    expect(page.get_by_text(re.compile("-3|minimum", re.IGNORECASE)).first).to_be_visible()
    expect(block.get_by_role("button", name="Prove it")).to_be_enabled()
