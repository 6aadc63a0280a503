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
    tab.get_by_label("Assistant: every answer").check()
    expect(tab.locator(".mask .piece.is-dim").first).to_be_visible(timeout=60_000)


def test_a_token_tells_its_label_and_loss_on_focus(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=sft")
    token = page.locator("#stage-sft .mask .piece:not(.is-dim)").first
    expect(token).to_be_visible(timeout=90_000)
    token.hover()
    expect(page.locator(".note")).to_contain_text("probability")
