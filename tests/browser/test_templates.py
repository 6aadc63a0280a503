"""The Templates tab in a browser: typing changes the renderings, and nothing typed runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def test_a_word_typed_into_the_conversation_appears_in_every_rendering(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=templates")
    tab = page.locator("#stage-templates")
    expect(tab.locator(".rendering")).to_have_count(2, timeout=60_000)
    tab.locator(".turn textarea").first.fill("zebra <img src=x onerror=window.ran=1>")
    for column in tab.locator(".rendering-text").all():
        expect(column).to_contain_text("zebra <img", timeout=60_000)
    assert page.evaluate("window.ran") is None
    expect(tab.locator(".difference")).to_contain_text("zebra")


def test_a_warning_opens_and_says_what_was_seen(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=templates")
    tab = page.locator("#stage-templates")
    warning = tab.locator('[data-warning="double-bos"]').first
    expect(warning).to_be_visible(timeout=60_000)
    warning.locator("summary").click()
    expect(warning).to_contain_text("add_special_tokens=False")
