"""Base vs Chat in a real browser: columns, the proof, a run that appears by itself, a merge."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gradio_client import Client
from playwright.sync_api import Browser, Page, expect

from pipelines.stages import ASSETS
from tests.browser.conftest import Answering, end_studio, start_studio
from tests.conftest import write_adapter

pytestmark = pytest.mark.browser

SLOW = 60_000  # milliseconds; a machine that runs other tests at the same time is slow


@pytest.fixture
def open_tab(open_page: Callable[..., Page]) -> Callable[..., Page]:
    return lambda **options: open_page("/?tab=base-vs-chat", **options)


def expect_proof(page: Page, answering: Answering) -> None:
    """The last thing that is shown: that the base is the base, or why that cannot be shown."""
    said = "It is the base" if answering.weights else "Not compared with a fresh base: Pocket base is answered by"
    expect(page.locator("#answers .proof")).to_contain_text(said, timeout=SLOW)


def test_base_and_instruct_answer_side_by_side_and_the_base_is_proven(
    open_tab: Callable[..., Page], answering: Answering
) -> None:
    page = open_tab()
    page.get_by_role("button", name="Ask all").click()
    columns = page.locator("#answers .answer")
    expect(columns).to_have_count(2, timeout=SLOW)
    expect(columns.nth(0)).to_contain_text("given the bare text")
    expect(columns.nth(1)).to_contain_text("asked in its chat template")
    expect_proof(page, answering)
    if answering.weights:
        expect(columns.nth(0).locator(".proof")).to_contain_text(
            "Largest logit difference to a base read from disk just now: 0,"
        )
    for place in (0, 1):
        expect(columns.nth(place)).to_contain_text("tokens/s")


def test_what_a_visitor_types_stays_text(open_tab: Callable[..., Page], answering: Answering) -> None:
    page = open_tab()
    panel = page.locator("#stage-base-vs-chat")
    panel.get_by_label("Prompt").fill("<img src=x onerror=\"document.title='owned'\"> ${1+1} {{7*7}}")
    page.get_by_role("button", name="Ask all").click()
    expect_proof(page, answering)
    assert page.locator("#answers img").count() == 0
    assert page.title() != "owned"


def test_an_empty_prompt_is_a_sentence_and_not_a_crash(open_tab: Callable[..., Page]) -> None:
    page = open_tab()
    page.locator("#stage-base-vs-chat").get_by_label("Prompt").fill("  ")
    page.get_by_role("button", name="Ask all").click()
    expect(page.get_by_text("prompt: is empty")).to_be_visible(timeout=SLOW)


@pytest.mark.slow
def test_a_finished_run_joins_by_itself_and_can_be_merged(
    open_tab: Callable[..., Page], studio_url: str, answering: Answering
) -> None:
    page = open_tab()
    expect(page.get_by_label("Merge an adapter")).to_be_visible()
    client = Client(studio_url, verbose=False)
    run = client.predict(config={"max_steps": 4}, api_name="/finetune")["run_id"]
    deadline = time.monotonic() + 120
    while (state := client.predict(run_id=run, api_name="/run"))["status"] in ("queued", "running"):
        assert time.monotonic() < deadline, state
        time.sleep(0.5)
    assert state["status"] == "finished", state
    choice = page.get_by_role("checkbox", name=run[:6])
    expect(choice).to_be_checked(timeout=SLOW)
    page.get_by_role("button", name="Ask all").click()
    columns = page.locator("#answers .answer")
    expect(columns.filter(has_text=run[:6])).to_have_count(1, timeout=SLOW)
    expect_proof(page, answering)
    if answering.weights:
        # Runs of tests before this one stand here too, so how many are attached is not this test's to say.
        expect(columns.nth(0).locator(".proof")).to_contain_text(re.compile(r"Active adapters: none of \d attached"))
    page.get_by_label("Merge an adapter").click()
    page.get_by_role("option", name=run[:6]).click()
    page.get_by_role("button", name="Merge", exact=True).click()
    table = page.locator("#merge table")
    expect(table).to_contain_text("Largest logit difference, float32", timeout=SLOW)
    expect(table).to_contain_text("tokens/s")
    expect(page.locator("#stage-base-vs-chat .take-home-code").first).to_contain_text(f"runs/{run}/adapter")


@pytest.mark.slow
def test_an_adapter_made_elsewhere_is_asked_and_a_wrong_one_is_explained(chromium: Browser, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    for name, made_for in (("friend", "/home/ann/pocket-base"), ("stranger", "meta-llama/Llama-3.1-8B")):
        folder = write_adapter(ASSETS / "models" / "pocket-base", shelf / name)
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": made_for}))
    process, url = start_studio(tmp_path, "--models-dir", str(shelf))
    try:
        page = chromium.new_page()
        page.set_default_timeout(SLOW)
        page.goto(f"{url}/?tab=base-vs-chat")
        page.get_by_role("checkbox", name="friend").check()
        expect(page.get_by_role("checkbox", name="stranger")).to_have_count(0)
        page.get_by_text("1 adapter not offered").click()
        expect(page.locator(".refused li")).to_contain_text("was trained on 'Llama-3.1-8B'")
        page.get_by_role("button", name="Ask all").click()
        expect(page.locator("#answers .answer")).to_have_count(3, timeout=SLOW)
        expect(page.locator("#answers .together")).to_contain_text(
            "Up to 2 answers shared each pass of one base", timeout=SLOW
        )
        expect(page.locator("#answers .proof")).to_contain_text("It is the base", timeout=SLOW)
        page.close()
    finally:
        assert end_studio(process) == 0


@pytest.mark.slow
def test_two_browsers_vote_blind_and_see_one_tally(open_tab: Callable[..., Page]) -> None:
    teacher, student = open_tab(), open_tab(width=390, height=844)
    teacher.get_by_role("checkbox", name="Poet").check()
    teacher.get_by_role("checkbox", name="Blind vote").check()
    teacher.get_by_role("button", name="Ask all").click()
    names = ["Pocket base", "Pocket instruct", "Poet"]
    for page in (teacher, student):
        question = page.locator("#blind-question")
        expect(question.locator(".answer").nth(2)).to_be_visible(timeout=SLOW)
        # Nothing in the page's source, attributes included, tells who wrote what, before the vote.
        around = (
            question.inner_html() + page.locator("#blind-tally").inner_html() + page.locator("#answers").inner_html()
        )
        assert not [name for name in [*names, "poet", "base", "instruct", "template"] if name in around.lower()], around
    texts = [page.locator("#blind-question .answer-text").all_inner_texts() for page in (teacher, student)]
    assert texts[0] == texts[1]

    student.get_by_role("button", name="B is best").click()
    revealed = student.locator("#blind-question h4")
    expect(revealed.filter(has_text="your vote")).to_have_count(1)
    for name in names:
        # Runs of other tests may have joined, whose titles begin with their base's.
        expect(revealed.filter(has_text=re.compile(rf"· {name}\s+\d votes?"))).to_have_count(1)
    winner = revealed.filter(has_text="your vote").inner_text()
    expect(teacher.locator("#blind-tally")).to_contain_text("1 vote on this question", timeout=SLOW)
    assert "your vote" not in teacher.locator("#blind-question").inner_html()

    teacher.get_by_role("button", name="B is best").click()
    for page in (teacher, student):
        tally = page.locator("#blind-tally")
        expect(tally).to_contain_text("2 votes on this question", timeout=SLOW)
        expect(tally.locator(".arm").first).to_contain_text("2 of 2 votes")
        assert tally.locator(".arm-name").first.inner_text().splitlines()[0] in winner
        expect(tally.locator(".arm").nth(1)).to_contain_text("0 of 2 votes")
        assert page.locator("#blind-question button").count() == 0
    student.reload()
    student.get_by_role("tab", name="Base vs Chat", exact=True).wait_for()
    expect(student.locator("#blind-question h4").filter(has_text="your vote")).to_have_count(1, timeout=SLOW)
    assert student.evaluate("document.documentElement.scrollWidth") <= 390

    expect(student.get_by_role("button", name="New tally")).to_have_count(0)
    teacher.get_by_role("button", name="New tally").click()
    for page in (teacher, student):
        expect(page.locator("#blind-question .vote")).to_have_count(0, timeout=SLOW)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(open_tab: Callable[..., Page], answering: Answering, width: int) -> None:
    page = open_tab(width=width)
    page.get_by_role("button", name="Ask all").click()
    expect_proof(page, answering)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
