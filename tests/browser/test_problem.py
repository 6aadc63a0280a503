"""The Problem tab in a real browser: ask, look at a token, branch, cross, stop, take the script home."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Answering

pytestmark = pytest.mark.browser
PATIENCE = 60_000  # milliseconds; the first answer may have to wait for the models


def cell(page: Page, key: str) -> Locator:
    return page.locator(f".cell-{key}").first


def ask(page: Page, prompt: str) -> None:
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_role("button", name="Ask both").click()
    for key in ("base-raw", "instruct-chat"):
        expect(cell(page, key)).to_contain_text(re.compile("stopped by itself|cut off"), timeout=PATIENCE)


def test_both_models_answer_and_show_what_else_they_could_have_said(
    open_page: Callable[..., Page], answering: Answering
) -> None:
    page = open_page("/?tab=problem")
    ask(page, "What is the capital of France?")
    base, instruct = cell(page, "base-raw"), cell(page, "instruct-chat")
    expect(base).to_contain_text("What is the capital of France?")
    expect(instruct).to_contain_text("<|assistant|>")
    for column in (base, instruct):
        if answering.probabilities:
            expect(column.locator(".bar-row")).not_to_have_count(0)
        else:
            expect(column.locator(".alternatives").first).to_contain_text(
                "the server that wrote this gives no probabilities"
            )

    base.locator(".written [role=button]").nth(2).click()
    expect(base).to_contain_text("Token 3: what could stand here")
    if not answering.probabilities:
        return
    base.locator(".alternatives button").nth(1).click()
    expect(base).to_contain_text(re.compile("stopped by itself|cut off"), timeout=PATIENCE)
    expect(base.locator(".alternatives .bar-row").nth(1)).to_contain_text("taken")


def test_a_token_is_reached_and_pressed_by_keyboard(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=problem")
    ask(page, "The capital of France is")
    base = cell(page, "base-raw")
    base.locator(".written [role=button]").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(base).to_contain_text("Token 2: what could stand here")


def test_crossing_model_and_format_shows_four_answers(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=problem")
    page.get_by_label("Cross model and format").check()
    page.get_by_role("button", name="What is photosynthesis?").click()
    for key in ("base-raw", "instruct-raw", "base-chat", "instruct-chat"):
        expect(cell(page, key)).to_contain_text(re.compile("stopped by itself|cut off"), timeout=PATIENCE)
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("What is photosynthesis?")


def test_what_is_typed_is_shown_as_it_was_typed(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=problem")
    ask(page, "<img src=x onerror=\"document.title='ran'\"> ${1+1} {{1+1}}")
    expect(cell(page, "base-raw")).to_contain_text("onerror=")
    expect(page).not_to_have_title("ran")


def test_an_empty_prompt_says_what_is_missing(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=problem")
    page.get_by_label("Prompt", exact=True).fill("")
    page.get_by_role("button", name="Ask both").click()
    expect(page.get_by_text("prompt: is empty").first).to_be_visible(timeout=PATIENCE)


def test_the_script_follows_the_page_and_is_saved_by_the_browser(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=problem")
    page.get_by_label("Prompt", exact=True).fill("Who wrote Hamlet?")
    expect(page.locator("#stage-problem .take-home-code").first).to_contain_text("PROMPT = 'Who wrote Hamlet?'")
    with page.expect_download() as saving:
        page.get_by_role("button", name="Download base_and_instruct.py").click()
    assert saving.value.suggested_filename == "base_and_instruct.py"
    saved = saving.value.path().read_text(encoding="utf-8")
    assert "PROMPT = 'Who wrote Hamlet?'" in saved
    compile(saved, "base_and_instruct.py", "exec")
