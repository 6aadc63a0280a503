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


def test_the_method_moves_the_table_and_the_gpus(qlora: Page) -> None:
    tab, figures = qlora.locator("#stage-qlora"), qlora.locator(".memory-figures:visible")
    table = qlora.get_by_role("region", name="GPUs")
    expect(table.get_by_role("row").filter(has_text="RTX 4090")).to_contain_text("✓ fits")
    tab.get_by_label("Full", exact=True).check()
    expect(figures).to_contain_text("on each GPU, Full")
    expect(figures).to_contain_text("8,030,261,248")
    expect(table.get_by_role("row").filter(has_text="RTX 4090")).to_contain_text("with FSDP")
    expect(tab.locator(".take-home-code").first).not_to_contain_text("BitsAndBytesConfig")


def test_several_gpus_share_what_their_sharding_shares(qlora: Page) -> None:
    tab = qlora.locator("#stage-qlora")
    tab.get_by_role("button", name="Optimizer, dtype, attention, loss, several GPUs").click()
    box = tab.get_by_role("spinbutton", name="GPUs")
    box.fill("8")
    box.press("Enter")
    sharding = tab.get_by_label("Sharding")
    sharding.click()
    qlora.get_by_role("option", name="FSDP: all three").click()
    terms = qlora.get_by_role("region", name="Terms of the estimate")
    expect(terms.get_by_role("row", name="Weights").first).to_contain_text("÷ 8 GPUs")
    launch = tab.locator(".take-home-code").last
    expect(launch).to_contain_text("num_processes: 8")
    expect(launch).to_contain_text("distributed_type: FSDP")


def test_fewer_tokens_cost_less_and_none_is_refused_with_advice(qlora: Page) -> None:
    tab = qlora.locator("#stage-qlora")
    tokens = tab.get_by_label("Training tokens, millions")
    row = qlora.get_by_role("region", name="GPUs").get_by_role("row").filter(has_text="H100 80 GB SXM")
    before = row.get_by_role("cell").last.inner_text()
    tokens.fill("1")
    tokens.press("Tab")
    expect(qlora.get_by_role("region", name="GPUs")).to_contain_text("time for 1M tokens")
    assert float(row.get_by_role("cell").last.inner_text().strip("$")) < float(before.strip("$"))
    tokens.fill("0")
    tokens.press("Tab")
    expect(qlora.get_by_text("Use a number above 0, such as 10").first).to_be_visible()
    expect(qlora.get_by_role("region", name="GPUs")).to_contain_text("time for 1M tokens")


def test_the_chapters_figures_stand_beside_the_exact_ones(qlora: Page) -> None:
    tab = qlora.locator("#stage-qlora")
    rows = tab.get_by_role("region", name="The chapter and the exact figures").get_by_role("row")
    for said, exact in (
        ("840 GB, 12+ GPUs", "GB in mixed precision"),
        ("840 GB, 12+ GPUs", "16 A100 80 GB"),
        ("145 GB", "141 GB of frozen bf16 weights"),
        ("40 GB, the weights 35 GB", "the weights 39.5 GB (42.7 GB without double quantization)"),
        ("75 % less", "72.0% less"),
        ("$10–50", "on an H100"),
    ):
        row = rows.filter(has_text=said)
        expect(row).to_have_count(1)
        expect(row).to_contain_text(exact)


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


def test_another_layer_is_looked_at(qlora: Page) -> None:
    layer = qlora.locator("#stage-qlora").get_by_label("Layer of the running pair")
    layer.click()
    qlora.get_by_role("option", name="model.layers.2.self_attn.k_proj.weight").click()
    expect(qlora.locator("#stage-qlora .levels figcaption")).to_contain_text("layers.2.self_attn.k_proj")


def test_the_script_and_the_launch_file_are_there(qlora: Page) -> None:
    code = qlora.locator("#stage-qlora .take-home-code")
    expect(code.first).to_contain_text("BitsAndBytesConfig")
    expect(code.last).to_contain_text("distributed_type")


def test_the_running_base_is_really_loaded_and_takes_what_is_estimated(qlora: Page) -> None:
    qlora.locator("#stage-qlora").get_by_role("button", name="Load it and count").click()
    rows = qlora.get_by_role("region", name="Bytes of the loaded base").get_by_role("row")
    expect(rows).to_have_count(5, timeout=60_000)
    for text in ("bf16", "int8", "NF4", "NF4, double quantization"):
        expect(rows.filter(has=qlora.get_by_role("rowheader", name=text, exact=True))).to_contain_text("none")
