"""The Data tab in a real browser: look inside, upload, clean, and take the result to Practice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

EVIL = '<img src="x" onerror="document.title = \'run\'">'


def test_the_lesson_is_shown_when_the_tab_is_opened(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=data")
    expect(page.locator(".data-pair").first).to_contain_text("as messages", timeout=60_000)
    expect(page.locator(".data-plot")).to_be_visible()


def test_the_catalogue_is_searched(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=data")
    page.get_by_role("radio", name="all", exact=True).check()
    page.get_by_label("Search the catalogue").fill("gated")
    table = page.get_by_role("region", name="Catalogue of data sets")
    expect(table.get_by_role("row")).to_have_count(2)
    expect(table).to_contain_text("LMSYS-Chat-1M")


def test_an_upload_is_checked_cleaned_and_goes_to_practice(open_page: Callable[..., Page], tmp_path: Path) -> None:
    rows = [
        {"instruction": f"Tell me something. {EVIL}", "output": "The Nile flows north."},
        {"instruction": "Name a river.", "output": ""},
        {"instruction": "Name a mountain.", "output": "Mount Everest."},
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = open_page("/?tab=data")
    expect(page.locator(".data-pair").first).to_be_visible(timeout=60_000)
    page.locator("#stage-data input[type=file]").set_input_files(path)
    expect(page.locator(".data-figures").first).to_contain_text("alpaca", timeout=60_000)
    expect(page.get_by_role("region", name="Problems row by row")).to_contain_text("The answer in turn 2 is empty")
    assert page.title() != "run" and page.locator(".data-pair img").count() == 0
    page.get_by_role("button", name="Clean", exact=True).click()
    key = page.get_by_label("Key of this data set")
    expect(page.get_by_text("2 conversations are kept as")).to_be_visible()
    expect(key).not_to_have_value("lesson")
    chosen = key.input_value()
    page.get_by_role("button", name="Use in Practice").click()
    page.get_by_role("tab", name="Practice", exact=True).click()
    expect(page.get_by_label("Data", exact=True)).to_have_value(chosen)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_widens_the_page(open_page: Callable[..., Page], width: int) -> None:
    page = open_page("/?tab=data", width=width)
    expect(page.locator(".data-pair").first).to_be_visible(timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_a_model_writes_examples_and_what_was_kept_is_looked_into(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=data")
    tab = page.locator("#stage-data")
    expect(page.locator(".data-pair").first).to_be_visible(timeout=60_000)
    tab.get_by_role("button", name="or let a model write it").click()
    tab.get_by_role("button", name="Write examples").click()
    table = tab.get_by_role("region", name="What the model wrote")
    expect(table.get_by_role("row").nth(1)).to_contain_text("kept", timeout=120_000)
    tab.get_by_role("button", name="Look inside what was kept").click()
    expect(tab.locator(".data-figures").nth(1)).to_contain_text("messages", timeout=60_000)
    expect(tab.get_by_label("Key of this data set")).not_to_have_value("lesson")
