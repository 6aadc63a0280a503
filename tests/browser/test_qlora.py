"""The QLoRA tab in a browser: bars that explain themselves, GPUs, the scatter, NF4."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


@pytest.fixture
def qlora(open_page: Callable[..., Page]) -> Page:
    page = open_page("/?tab=qlora")
    expect(page.locator(".memory-figures:visible")).to_contain_text("GiB", timeout=60_000)
    return page


def test_every_part_of_a_bar_says_its_formula_on_focus(qlora: Page) -> None:
    part = qlora.locator("#stage-qlora .stack-row").filter(has_text="QLoRA").locator(".part").first
    part.focus()
    expect(qlora.locator(".note")).to_contain_text("½ byte per weight")


def test_a_longer_sequence_takes_more_and_the_table_says_where(qlora: Page) -> None:
    figures = qlora.locator(".memory-figures:visible")
    before = figures.inner_text()
    box = qlora.locator("#stage-qlora").get_by_role("spinbutton", name="Sequence")
    box.fill("8192")
    box.press("Enter")
    expect(figures).not_to_have_text(before)
    expect(qlora.get_by_role("region", name="Terms of the estimate")).to_contain_text("8,192 tokens × 128,256 words")


def test_gpus_have_a_verdict_a_price_and_its_date(qlora: Page) -> None:
    table = qlora.get_by_role("region", name="GPUs")
    expect(table).to_contain_text("✓ fits")
    expect(table).to_contain_text("2026-03-10")


def test_the_error_over_published_runs_is_drawn(qlora: Page) -> None:
    expect(qlora.locator("#stage-qlora .scatter .dot")).to_have_count(40)
    expect(qlora.locator("#stage-qlora")).to_contain_text("median error over 30 published figures")


def test_nf4_lies_over_a_real_layer(qlora: Page) -> None:
    expect(qlora.locator("#stage-qlora .levels svg line")).to_have_count(16, timeout=30_000)
    expect(qlora.get_by_role("region", name="Error of the 4-bit types")).to_contain_text("NF4")


def test_the_script_and_the_launch_file_are_there(qlora: Page) -> None:
    code = qlora.locator("#stage-qlora .take-home-code")
    expect(code.first).to_contain_text("BitsAndBytesConfig")
    expect(code.last).to_contain_text("distributed_type")
