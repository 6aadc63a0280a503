"""The lesson in a real browser: its keys, its place in the address, and the notes that only the presenter sees."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def at(page: Page, place: str) -> None:
    """Waits until the layer stands at a place, and for what the server says of it."""
    expect(page.locator("#presentation")).to_have_attribute("data-place", place)
    expect(page.locator("#presentation .beat")).to_be_visible()


def test_space_begins_moves_and_is_left_to_fields_and_buttons(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=problem")
    expect(page.locator(".lesson-play")).to_be_visible()
    page.wait_for_function("document.querySelector('.lesson-play').title")
    prompt = page.locator("#stage-problem").get_by_label("Prompt", exact=True)
    prompt.fill("The")
    prompt.press("End")
    for key in (" ", "a", "1", "ArrowLeft"):
        prompt.press(key)
    expect(prompt).to_have_value("The a1")
    page.get_by_role("tab", name="SFT", exact=True).focus()
    page.keyboard.press("Space")
    page.locator("body").click(position={"x": 2, "y": 2})
    page.keyboard.press("Control+Space")
    assert page.evaluate("studioBeat.at()") == ""

    page.keyboard.press("Space")
    at(page, "problem.analogy")
    expect(page.locator(".lesson-step")).to_have_text("Step 1 / 8 · Problem")
    page.keyboard.press("ArrowRight")
    at(page, "problem.predict")
    expect(page).to_have_url(re.compile(r"[?&]beat=problem\.predict"))
    page.keyboard.press("ArrowLeft")
    at(page, "problem.analogy")
    page.keyboard.press("3")
    at(page, "data.analogy")
    page.keyboard.press("Control+ArrowRight")
    page.keyboard.press("a")
    expect(page.locator('[data-act="autoplay"]')).to_have_text("Pause")
    page.keyboard.press("a")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    at(page, "data.analogy")
    # A focused button is pressed by Space, and nothing else moves.
    page.locator('[data-act="back"]').focus()
    page.keyboard.press("Space")
    at(page, "sft.remember")
    page.keyboard.press("Escape")
    expect(page.locator("#presentation")).to_be_hidden()
    expect(page.get_by_role("tab", name="SFT", exact=True)).to_have_attribute("aria-selected", "true")
    expect(page).to_have_url(re.compile(r"tab=sft"))
    assert "beat=" not in page.url


def test_the_focus_stays_in_the_layer_and_each_beat_is_announced(open_page: Callable[..., Page]) -> None:
    page = open_page("/?beat=sft.predict")
    at(page, "sft.predict")
    for _ in range(20):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('#presentation')"
        )
    announced = page.locator("#presentation > .lesson-live")
    expect(announced).to_contain_text("Which part will the loss count?")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#beat .outcomes .is-true")).to_be_visible(timeout=60_000)
    expect(announced).to_contain_text("Lit tokens are learned from.")
    page.keyboard.press("ArrowLeft")
    expect(announced).to_contain_text("Which part will the loss count?")


@pytest.mark.slow
def test_a_reload_goes_on_where_it_was_and_play_too(open_page: Callable[..., Page]) -> None:
    page = open_page("/?beat=data.remember")
    at(page, "data.remember")
    page.keyboard.press("Space")
    at(page, "templates.analogy")
    page.reload()
    at(page, "templates.analogy")
    page.keyboard.press("Escape")
    page.reload()
    expect(page.locator(".lesson-play")).to_have_text("Go on with the lesson")
    page.locator(".lesson-play").click()
    at(page, "templates.analogy")
    expect(page.locator('[data-act="autoplay"]')).to_have_text("Pause")


def test_the_notes_are_in_a_window_of_their_own_with_the_time_and_the_next_beat(
    open_page: Callable[..., Page],
) -> None:
    page = open_page("/?beat=problem.analogy")
    at(page, "problem.analogy")
    with page.expect_popup() as opened:
        page.keyboard.press("n")
    notes = opened.value
    expect(notes.locator("body")).to_contain_text("finished somebody else's sentence")
    expect(notes.locator("body")).to_contain_text("Next: Problem, Predict")
    expect(notes.locator(".notes-timer")).to_contain_text(re.compile(r"This beat 0:\d\d of 1:15 planned"))
    assert "finished somebody else's sentence" not in page.locator("body").inner_text()
    notes.get_by_role("button", name="Next →").click()
    at(page, "problem.predict")
    notes.keyboard.press("ArrowLeft")
    at(page, "problem.analogy")
