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


def test_switches_change_the_numbers_and_the_script(lora: Page) -> None:
    tab = lora.locator("#stage-lora")
    printed, code = lora.locator(".printed:visible"), tab.locator(".take-home-code")
    tab.get_by_label("DoRA").check()
    expect(printed).to_contain_text("trainable params: 43,319,296")
    expect(code).to_contain_text("use_dora=True")
    tab.get_by_label("rsLoRA").check()
    expect(tab).to_contain_text("rsLoRA divides by √r")
    expect(code).to_contain_text("use_rslora=True")
    tab.get_by_label("DoRA").uncheck()
    tab.get_by_label("modules_to_save").click()
    lora.get_by_role("option", name="norm", exact=True).click()
    expect(printed).to_contain_text("trainable params: 42,209,280")
    expect(tab.get_by_role("region", name="Trained modules")).to_contain_text("full copy")


def test_another_model_is_drawn_with_its_own_modules(lora: Page) -> None:
    tab = lora.locator("#stage-lora")
    model = tab.get_by_label("Model").first
    model.fill("Phi-3 mini 4K")
    model.press("Enter")
    expect(tab.locator(".lora-block .module").filter(has_text="qkv_proj")).to_be_visible()
    targets = tab.get_by_label("target_modules").first
    targets.fill("q,v")
    targets.press("Enter")
    expect(tab).to_contain_text("all three")


def test_the_chapters_figures_stand_beside_the_exact_ones(lora: Page) -> None:
    rows = (
        lora.locator("#stage-lora").get_by_role("region", name="The chapter and the exact figures").get_by_role("row")
    )
    for said, exact in (
        ("16.7M parameters against 131K, 128×", "16,777,216 against 2 × 4,096 × 16 = 131,072: 128×"),
        ("~20M parameters = 0.25 %", "41,943,040 = 0.52 %"),
        ("~20M parameters = 0.25 %", "6,815,744 = 0.08 %"),
        ("0.1 % of the parameters", "6,815,744 = 0.08 %"),
        ("starts as the original layer", "only when B starts at zero"),
    ):
        row = rows.filter(has_text=said)
        expect(row).to_have_count(1)
        expect(row).to_contain_text(exact)


def test_a_rank_is_rebuilt_and_measured_when_the_slider_is_let_go(lora: Page) -> None:
    tab = lora.locator("#stage-lora")
    expect(tab.get_by_role("region", name="Effective rank of every change")).to_contain_text("down_proj")
    box = tab.get_by_role("spinbutton", name="Rebuild from rank")
    box.fill("4")
    box.press("Enter")
    box.blur()
    rebuilt = tab.locator(".rebuilt").first
    expect(rebuilt).to_contain_text("right at rank 4, of 128 held-out questions", timeout=120_000)
    share = rebuilt.locator(".figure-large").first.inner_text()
    assert 0 <= float(share.removesuffix("%")) <= 100


def test_the_listed_layer_is_run_beside_its_repair(lora: Page) -> None:
    lora.get_by_role("button", name="Run both on the base model").click()
    table = lora.get_by_role("region", name="The layer before any training")
    repaired = table.get_by_role("row").filter(has_text="repaired: B = 0")
    expect(repaired.get_by_role("cell").first).to_have_text("0", timeout=120_000)
    listed = table.get_by_role("row").filter(has_text="as listed").first.get_by_role("cell").first
    assert float(listed.inner_text()) > 0.01


def test_adapters_are_added_up_in_three_ways(lora: Page) -> None:
    table = lora.get_by_role("region", name="Adding two adapters up")
    expect(table.get_by_role("row").filter(has_text="cat")).to_contain_text("32", timeout=120_000)
    exact = table.get_by_role("row").filter(has_text="cat").get_by_role("cell").last
    expect(exact).to_have_text("0")


def test_the_script_follows_the_settings(lora: Page) -> None:
    expect(lora.locator("#stage-lora .take-home-code")).to_contain_text('target_modules="all-linear"')


@pytest.mark.slow
@pytest.mark.parametrize("tab", ["lora", "qlora"])
def test_a_phone_shows_everything_without_scrolling_sideways(open_page: Callable[..., Page], tab: str) -> None:
    page = open_page(f"/?tab={tab}", width=390, height=844)
    expect(page.locator(".printed:visible, .stack-list:visible").first).to_be_visible(timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
