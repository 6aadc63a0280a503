"""The frame in a real browser: tabs, links, keyboard, and what a reload keeps."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from pipelines.stages import STAGES, Stage

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param(one, id=one.key, marks=[] if one.key in ("data", "practice") else pytest.mark.slow)
        for one in STAGES
    ],
)
def test_every_tab_opens_by_its_link_and_shows_its_step_and_verbs(open_page: Callable[..., Page], stage: Stage) -> None:
    page = open_page(f"/?tab={stage.key}")
    expect(page.get_by_role("tab", name=stage.title, exact=True)).to_have_attribute("aria-selected", "true")
    panel = page.get_by_role("tabpanel").and_(page.locator(":visible"))
    expect(panel).to_contain_text(f"Step {stage.number} / 8 · {stage.title}")
    for verb in ("Explain", "Play", "Prove", "Take home"):
        expect(panel.get_by_role("heading", name=verb, exact=True)).to_be_visible()


@pytest.mark.slow
def test_the_address_follows_the_open_tab(open_page: Callable[..., Page]) -> None:
    page = open_page()
    for stage in STAGES[1:] + STAGES[:1]:
        page.get_by_role("tab", name=stage.title, exact=True).click()
        expect(page).to_have_url(re.compile(rf"[?&]tab={stage.key}$"))
        expect(page.get_by_role("tabpanel").and_(page.locator(":visible"))).to_contain_text(f"Step {stage.number} / 8")


@pytest.mark.slow
def test_a_linked_tab_is_the_only_one_the_address_ever_names(open_page: Callable[..., Page]) -> None:
    """Gradio opens the first tab before the linked one: who copied the address of a page that loads got the first."""
    page = open_page("/?tab=practice&run=0123456789abcdef")
    page.add_init_script(
        """globalThis.named = [];
        const replace = history.replaceState.bind(history);
        history.replaceState = (state, title, link) => { named.push(String(link)); replace(state, title, link); };"""
    )
    for _ in range(3):
        page.reload()
        page.locator("#stage-practice .verb").first.wait_for()
        page.wait_for_timeout(1500)
        assert [link for link in page.evaluate("named") if "tab=practice" not in link] == []
        assert page.url.endswith("/?tab=practice&run=0123456789abcdef")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_tab_key_only_stops_where_something_can_be_seen(open_page: Callable[..., Page], width: int) -> None:
    page = open_page(width=width)
    page.locator("body").click(position={"x": 2, "y": 2})
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                """() => {
                  const e = document.activeElement, box = e.getBoundingClientRect(), style = getComputedStyle(e);
                  const name = (e.getAttribute("aria-label") || e.innerText || e.value || e.placeholder || "").trim();
                  return {name, tag: e.tagName, outline: style.outlineStyle,
                          visible: e.checkVisibility({opacityProperty: true, visibilityProperty: true})
                                   && box.width > 1 && box.height > 1};
                }"""
            )
        )
    assert [stop for stop in seen if stop["tag"] != "BODY" and not (stop["visible"] and stop["name"])] == []


@pytest.mark.parametrize("width", [1280, 390])
def test_all_eight_tabs_can_be_reached_without_a_menu(open_page: Callable[..., Page], width: int) -> None:
    page = open_page(width=width)
    for stage in STAGES:
        tab = page.get_by_role("tab", name=stage.title, exact=True)
        expect(tab).to_have_count(1)
        expect(tab).to_be_visible()


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.key)
def test_nothing_is_wider_than_a_phone(open_page: Callable[..., Page], stage: Stage) -> None:
    page = open_page(f"/?tab={stage.key}", width=390, height=844)
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_running_pair_is_named_with_its_memory(open_page: Callable[..., Page]) -> None:
    page = open_page()
    line = page.locator(".pair").first
    expect(line).to_contain_text(re.compile("base.*instruct", re.DOTALL))
    expect(line).to_contain_text(re.compile(r"MiB of [\d.]+ GiB"), timeout=60_000)


def test_what_was_typed_is_kept_when_the_cursor_leaves_before_the_page_has_told_of_it(
    open_page: Callable[..., Page],
) -> None:
    """A slow machine tells of a change when the person is already in the next tab."""
    page = open_page("/?tab=problem")
    page.locator("#stage-problem").get_by_label("Prompt", exact=True).evaluate(
        """box => {
          box.focus();
          Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(box, "Who wrote Hamlet?");
          box.dispatchEvent(new InputEvent("input", {bubbles: true}));
          box.blur();
        }"""
    )
    page.get_by_role("tab", name="Base vs Chat", exact=True).click()
    there = page.locator("#stage-base-vs-chat").get_by_label("Prompt", exact=True)
    expect(there).to_have_value("Who wrote Hamlet?")
    page.wait_for_url("**tab=base-vs-chat*")
    page.reload()
    expect(there).to_have_value("Who wrote Hamlet?")


def test_what_was_chosen_survives_a_reload_and_is_chosen_in_the_other_tabs(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=problem")
    page.locator("#stage-problem").get_by_label("Prompt", exact=True).fill("Who wrote Hamlet?")
    page.get_by_role("tab", name="LoRA", exact=True).click()
    page.locator("#stage-lora").get_by_label("lora_alpha").fill("48")
    page.wait_for_url("**tab=lora*")
    page.wait_for_function("studioLesson.all().alpha == 48 && studioLesson.all().prompt == 'Who wrote Hamlet?'")
    page.reload()
    page.get_by_role("tab", name="Practice", exact=True).wait_for()
    expect(page.locator("#stage-lora").get_by_label("lora_alpha")).to_have_value("48")
    for tab, stage in (("Problem", "problem"), ("Base vs Chat", "base-vs-chat")):
        page.get_by_role("tab", name=tab, exact=True).click()
        expect(page.locator(f"#stage-{stage}").get_by_label("Prompt", exact=True)).to_have_value("Who wrote Hamlet?")
