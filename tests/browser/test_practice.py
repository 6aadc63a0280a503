"""Practice in a real Chromium."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def test_a_wrong_setting_is_said_and_nothing_typed_is_lost(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=practice")
    practice = page.locator("#stage-practice")
    page.get_by_role("button", name="Hyperparameters").click()
    rate = page.get_by_label("Learning rate", exact=False).first
    rate.fill("7")
    practice.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("learning_rate: 7").first).to_be_visible()
    expect(rate).to_have_value("7")
