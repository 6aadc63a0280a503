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


def test_own_jinja_is_rendered_and_an_error_names_its_line(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=templates")
    tab = page.locator("#stage-templates")
    expect(tab.locator(".rendering")).to_have_count(2, timeout=60_000)
    choose(page, "Template 3", "Own Jinja, below")
    expect(tab.locator(".rendering").nth(2)).to_contain_text("<|user|>", timeout=60_000)
    tab.get_by_role("button", name="Own Jinja").click()
    editor = tab.locator(".cm-content").first
    # Gradio makes the editor anew shortly after its accordion opens; a click before that is lost.
    while not tab.locator(".cm-editor.cm-focused").count():
        editor.click()
        page.wait_for_timeout(250)
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("hello\n{% if %}")
    expect(editor).to_contain_text("hello")
    expect(tab.locator(".rendering").nth(2)).to_contain_text("line 2", timeout=60_000)


def test_ids_whitespace_and_the_generation_prompt_are_drawn_on_demand(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=templates")
    first = page.locator("#stage-templates .rendering").first
    expect(first).to_contain_text("Paris", timeout=60_000)
    assert first.locator("small").count() == 0
    page.locator("#stage-templates").get_by_label("Token ids").check()
    expect(first.locator(".piece small").first).to_be_visible(timeout=60_000)
    page.locator("#stage-templates").get_by_label("Whitespace").check()
    expect(first.locator(".ws").first).to_be_visible(timeout=60_000)


def test_tools_reach_the_rendering(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=templates")
    tab = page.locator("#stage-templates")
    expect(tab.locator(".rendering")).to_have_count(2, timeout=60_000)
    choose(page, "Template 3", "Qwen3")
    expect(tab.locator(".rendering")).to_have_count(3, timeout=60_000)
    tab.get_by_role("button", name="Tools").click()
    tab.get_by_role("button", name="Put an example").click()
    expect(tab.locator(".rendering").nth(2)).to_contain_text("The weather of a city", timeout=60_000)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_widens_the_page(open_page: Callable[..., Page], width: int) -> None:
    page = open_page("/?tab=templates", width=width)
    expect(page.locator("#stage-templates .rendering").first).to_be_visible(timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def choose(page: Page, label: str, option: str) -> None:
    """An option of a dropdown, found by typing its name."""
    field = page.locator("#stage-templates").get_by_label(label, exact=True)
    field.fill(option)
    page.get_by_role("option", name=option, exact=True).click()


def test_one_question_is_answered_under_every_system_prompt(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=templates")
    tab = page.locator("#stage-templates")
    tab.get_by_role("button", name="Ask under each").click()
    answers = tab.locator(".answer")
    expect(answers.filter(has_text="pirate")).to_contain_text("Arr", timeout=60_000)
    expect(answers.filter(has_text="No system prompt")).to_contain_text("Paris")
    expect(answers.filter(has_text="butler")).to_contain_text("Certainly")
