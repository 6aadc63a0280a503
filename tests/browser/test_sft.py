"""The SFT tab in a browser: tokens light up by what is trained on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def test_train_on_everything_lights_every_token(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=sft")
    tab = page.locator("#stage-sft")
    expect(tab.locator(".mask .piece.is-dim").first).to_be_visible(timeout=90_000)
    tab.get_by_label("Everything").check()
    expect(tab.locator(".mask .piece.is-dim")).to_have_count(0, timeout=60_000)
    tab.get_by_label("Every answer").check()
    expect(tab.locator(".mask .piece.is-dim").first).to_be_visible(timeout=60_000)


def test_a_token_tells_its_label_and_loss_on_focus(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=sft")
    token = page.locator("#stage-sft .mask .piece:not(.is-dim)").first
    expect(token).to_be_visible(timeout=90_000)
    token.hover()
    expect(page.locator(".note")).to_contain_text("probability")


def test_an_edit_and_an_added_message_change_the_tokens(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=sft")
    tab = page.locator("#stage-sft")
    mask = tab.locator(".mask")
    expect(mask).to_contain_text("Paris", timeout=90_000)
    tab.locator(".turn textarea").last.fill("It is Oslo <b>, or so</b>.")
    expect(mask).to_contain_text("Oslo <b>", timeout=60_000)
    tab.get_by_role("button", name="Add message").click()
    tab.locator(".turn textarea").last.fill("Are you sure?")
    expect(mask).to_contain_text("sure?", timeout=60_000)
    tab.get_by_label("Last answer only").check()
    expect(mask.locator(".piece:not(.is-dim)").first).to_contain_text("It", timeout=60_000)


def test_trl_s_verdict_and_the_batch_are_shown(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=sft")
    tab = page.locator("#stage-sft")
    expect(tab.locator(".verdict")).to_contain_text("Same.", timeout=120_000)
    tab.get_by_role("button", name="Several conversations as one batch").click()
    tab.get_by_role("button", name="Draw the batch").click()
    expect(tab.locator(".batch li")).to_have_count(4, timeout=60_000)
    expect(tab.locator(".batch")).to_contain_text("padding")
    tab.get_by_label("Packed").check()
    tab.get_by_role("button", name="Draw the batch").click()
    expect(tab.locator(".batch li")).to_have_count(1, timeout=60_000)
    expect(tab.locator(".batch")).to_contain_text("conversations 1, 2, 3, 4")


def test_what_goes_home_holds_labels_and_markers(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=sft")
    tab = page.locator("#stage-sft")
    expect(tab.get_by_text("-100").first).to_be_attached(timeout=120_000)
    expect(tab.get_by_text("generation").first).to_be_attached()


def test_a_cut_stop_token_is_a_warning(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=sft")
    tab = page.locator("#stage-sft")
    expect(tab.locator(".mask .piece").first).to_be_visible(timeout=90_000)
    tab.get_by_label("number input for max_length").fill("16")
    tab.get_by_label("number input for max_length").press("Enter")
    expect(tab.locator('[data-warning="truncated"], [data-warning="all-masked"]')).to_be_visible(timeout=60_000)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_widens_the_page(open_page: Callable[..., Page], width: int) -> None:
    page = open_page("/?tab=sft", width=width)
    expect(page.locator("#stage-sft .mask .piece").first).to_be_visible(timeout=90_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
