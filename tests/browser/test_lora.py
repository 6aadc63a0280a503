"""The LoRA tab in a browser: a press on a module, a slider, a configuration of one's own, a phone."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from pipelines.architecture.catalogue import facts_of

pytestmark = pytest.mark.browser

ALL_LINEAR = "trainable params: 41,943,040 || all params: 8,072,204,288 || trainable%: 0.5196"


@pytest.fixture
def lora(open_page: Callable[..., Page]) -> Page:
    page = open_page("/?tab=lora")
    expect(page.locator(".printed:visible")).to_contain_text(ALL_LINEAR, timeout=60_000)
    return page


def test_a_press_on_a_module_counts_without_it_and_follows_into_qlora(lora: Page) -> None:
    module = lora.locator(".lora-block .module").filter(has_text="q_proj")
    expect(module).to_have_attribute("aria-pressed", "true")
    module.focus()
    lora.keyboard.press("Enter")
    expect(module).to_have_attribute("aria-pressed", "false")
    expect(lora.locator(".printed:visible")).to_contain_text("trainable params: 37,748,736")
    lora.get_by_role("tab", name="QLoRA", exact=True).click()
    expect(lora.locator("#stage-qlora").get_by_label("target_modules").first).to_have_value(
        "k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"
    )


def test_a_rank_counts_at_once(lora: Page) -> None:
    box = lora.locator("#stage-lora").get_by_role("spinbutton", name="Rank r")
    box.fill("8")
    box.press("Enter")
    expect(lora.locator(".printed:visible")).to_contain_text("trainable params: 20,971,520")


def test_a_pasted_configuration_is_counted(lora: Page) -> None:
    config = facts_of("pocket")["config"] | {"num_hidden_layers": 3}
    lora.locator("#stage-lora").get_by_label("config.json").fill(json.dumps(config))
    expect(lora.locator(".block-layers:visible")).to_have_text("3 × this layer", timeout=90_000)


def test_a_wrong_name_is_said_and_the_drawing_stays(lora: Page) -> None:
    targets = lora.locator("#stage-lora").get_by_label("target_modules").first
    targets.fill("q_porj")
    targets.press("Enter")
    expect(lora.get_by_text("Did you mean 'q_proj'?").first).to_be_visible()
    expect(lora.locator(".printed:visible")).to_contain_text(ALL_LINEAR)


def test_a_wrong_name_is_said_once(lora: Page) -> None:
    """Drawing, script and two other tabs, which share the field, all meet the same wrong name."""
    for name in ("QLoRA", "Practice", "LoRA"):
        lora.get_by_role("tab", name=name, exact=True).click()
        expect(lora.get_by_role("tab", name=name, exact=True)).to_have_attribute("aria-selected", "true")
    targets = lora.locator("#stage-lora").get_by_label("target_modules").first
    targets.fill("q_porj")
    targets.press("Enter")
    expect(lora.get_by_text("Did you mean 'q_proj'?").first).to_be_visible()
    lora.wait_for_timeout(2_000)  # the others answer within this time
    assert lora.get_by_text("Did you mean 'q_proj'?").count() == 1


def test_the_script_follows_the_settings(lora: Page) -> None:
    expect(lora.locator("#stage-lora .take-home-code")).to_contain_text('target_modules="all-linear"')


@pytest.mark.parametrize("tab", ["lora", "qlora"])
def test_a_phone_shows_everything_without_scrolling_sideways(open_page: Callable[..., Page], tab: str) -> None:
    page = open_page(f"/?tab={tab}", width=390, height=844)
    expect(page.locator(".printed:visible, .stack-list:visible").first).to_be_visible(timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
