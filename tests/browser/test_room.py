"""A room in two browsers: start, join by the link, follow, predict, reveal, wander, come back, reload, end."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

pytestmark = pytest.mark.browser


def start(presenter: Page) -> str:
    """Starts a room from the masthead, and closes the panel; its code."""
    presenter.get_by_role("button", name="Room", exact=True).click()
    panel = presenter.get_by_role("dialog", name="A room")
    panel.get_by_role("button", name="Start a room").click()
    expect(panel.get_by_role("img", name=re.compile("QR code of .*room="))).to_be_visible()
    code = panel.locator(".room-code").inner_text()
    presenter.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    return code


def end(presenter: Page) -> None:
    presenter.locator(".room-open").click()
    presenter.get_by_role("button", name="End the room").click()
    presenter.get_by_role("button", name="End it for everybody?").click()


def expect_tab(page: Page, name: str) -> None:
    expect(page.get_by_role("tab", name=name, exact=True)).to_have_attribute("aria-selected", "true")


@pytest.mark.slow
def test_a_student_follows_predicts_wanders_and_comes_back(open_page: Callable[..., Page]) -> None:
    presenter = open_page()
    code = start(presenter)
    student = open_page(f"/?room={code}", width=390, height=844, scheme="dark")
    bar = student.get_by_role("complementary", name="Room")
    expect(bar).to_contain_text("following the presenter")
    expect(presenter.locator(".room-open")).to_have_text(f"Room {code} · 1")

    presenter.get_by_role("tab", name="LoRA", exact=True).click()
    expect_tab(student, "LoRA")
    student.get_by_role("tab", name="SFT", exact=True).click()
    presenter.get_by_role("tab", name="Data", exact=True).click()
    bar.get_by_role("button", name="Back to the presenter · step 3").click()
    expect_tab(student, "Data")

    presenter.evaluate("studioBeat.go('problem.predict')")
    choice = student.locator("#beat [data-choice]").nth(1)
    choice.click()
    expect(choice).to_have_attribute("aria-pressed", "true")
    tally = presenter.locator("#beat [data-room=predict]")
    expect(tally).to_contain_text("1 of 1 have voted")
    assert presenter.locator(".room-tally").count() == 0
    student.locator("#beat [data-choice]").nth(2).click()
    expect(student.locator("#beat [data-room=predict]")).to_contain_text("Your vote:")
    expect(tally).to_contain_text("1 of 1 have voted")
    expect(student.get_by_role("status").filter(has_text="Your vote is counted")).to_be_attached()

    presenter.keyboard.press("ArrowRight")
    for page in (presenter, student):
        counts = page.locator("#beat [data-room=outcome] .room-tally li > b")
        expect(counts.nth(2)).to_have_text("1")
        expect(page.locator("#beat [data-room=outcome]")).to_contain_text(re.compile("[01] of 1 predicted it"))
    # A rule for phones, of a layer that lies beside Gradio's container.
    columns = student.locator("#beat .room-tally li").first.evaluate("row => getComputedStyle(row).gridTemplateColumns")
    assert len(columns.split()) == 2
    student.keyboard.press("ArrowLeft")
    back = student.locator("#presentation").get_by_role("button", name="Back to the presenter · step 1")
    back.click()
    expect(student.locator("#presentation")).to_have_attribute("data-place", "problem.demonstration")

    presenter.reload()
    expect(presenter.locator("#presentation")).to_have_attribute("data-place", "problem.demonstration")
    presenter.keyboard.press("Escape")
    expect(student.locator("#presentation")).to_be_hidden()
    expect_tab(student, "Problem")
    end(presenter)
    expect(bar).to_contain_text("The presenter has ended the room.")
    bar.get_by_role("button", name="OK").click()
    expect(bar).to_have_count(0)
    assert presenter.evaluate("localStorage.getItem('fine-tuning-studio.room')") is None


def test_a_step_on_its_way_is_not_taken_back(open_page: Callable[..., Page]) -> None:
    """After a reload, the room's first view can be older than what the presenter has done since."""
    presenter = open_page()
    code = start(presenter)
    presenter.evaluate("studioBeat.go('problem.predict')")
    expect(presenter.locator("#presentation")).to_have_attribute("data-place", "problem.predict")
    student = open_page(f"/?room={code}", width=390, height=844)
    expect(student.locator("#presentation")).to_have_attribute("data-place", "problem.predict")

    held: dict[str, list[Route]] = {"follow": [], "move": []}

    def hold(route: Route) -> None:
        waiting = held.get(route.request.url.rsplit("/", 1)[1])
        if waiting is None:
            route.continue_()
        else:
            waiting.append(route)

    presenter.route("**/rooms/*", hold)
    presenter.reload()
    expect(presenter.locator(".room-open")).to_contain_text(code)
    expect(presenter.locator("#presentation")).to_be_visible()
    presenter.keyboard.press("Escape")
    expect(presenter.locator("#presentation")).to_be_hidden()
    assert held["follow"] and held["move"]
    for name, sign in (("follow", f"Room {code} · 1"), ("move", code)):
        for route in held.pop(name):
            route.continue_()
        expect(presenter.locator(".room-open")).to_contain_text(sign)
    expect(student.locator("#presentation")).to_be_hidden()
    expect(presenter.locator("#presentation")).to_be_hidden()
    end(presenter)


def test_a_code_is_typed_and_a_wrong_one_is_told(open_page: Callable[..., Page]) -> None:
    presenter = open_page()
    code = start(presenter)
    student = open_page(width=360, height=740)
    student.get_by_role("button", name="Room", exact=True).click()
    field = student.get_by_label("Or join one by its code")
    field.fill("AAAAA")
    field.press("Enter")
    expect(student.get_by_role("alert").filter(has_text="there is no room 'AAAAA'")).to_be_visible()
    field.fill(code.lower())
    field.press("Enter")
    expect(student.get_by_role("complementary", name="Room")).to_contain_text(f"Room {code}")
    assert student.evaluate("document.documentElement.scrollWidth <= innerWidth")

    student.locator(".room-open").click()
    name = student.get_by_label("A name for the leaderboard, if you like")
    name.fill("<b>Ada</b>")
    name.press("Enter")
    expect(student.locator(".room-where")).to_contain_text("as <b>Ada</b>.")
    student.get_by_role("button", name="Leave").click()
    expect(student.get_by_role("complementary", name="Room")).to_contain_text("You have left the room.")
    end(presenter)
