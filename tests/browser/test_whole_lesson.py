"""The whole lesson on the pocket pair, from the keyboard and by itself: everything that it shows is really run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from pipelines.stages import STAGES
from pipelines.teaching.places import PLACES, Place
from tests.browser.conftest import Witness, end_studio, start_studio

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE = 600_000  # milliseconds for one demonstration or proof on a busy machine
REACTION = 1000.0  # milliseconds between a key and what the room sees of it
# For each key that is pressed: how long until the next place stood on the screen, in milliseconds of the page.
_WATCH = """() => {
  globalThis.reactions = [];
  let pressed = 0;
  document.addEventListener("keydown", () => { pressed = performance.now(); }, true);
  new MutationObserver(() => requestAnimationFrame(() => {
    const layer = document.querySelector("#presentation");
    if (pressed && layer && layer.dataset.shown === layer.dataset.place) {
      reactions.push([layer.dataset.place, performance.now() - pressed]);
      pressed = 0;
    }
  })).observe(document.body, {subtree: true, attributes: true, attributeFilter: ["data-shown"]});
}"""


@pytest.fixture(scope="module")
def fresh_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A studio of this module's own, in which nothing was measured before."""
    process, url = start_studio(Path(tmp_path_factory.mktemp("lecture")))
    yield url
    end_studio(process)


@pytest.fixture
def page(chromium: Browser, fresh_studio: str) -> Iterator[Page]:
    witness = Witness()
    context = chromium.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.set_default_timeout(60_000)
    witness.watch(page)
    yield page
    context.close()
    assert witness.outside == []
    assert witness.errors == []


def opened(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("tab", name="Base vs Chat", exact=True).wait_for()
    # Connected: the button has its words from the script.
    page.wait_for_function("document.querySelector('.lesson-play') && globalThis.studioBeat")
    page.wait_for_timeout(1000)
    page.evaluate(_WATCH)


def seen(page: Page, place: Place) -> None:
    """Waits until all of a place is there, and checks that what it shows was run."""
    layer = page.locator("#presentation")
    expect(layer).to_have_attribute("data-place", str(place))
    expect(layer).to_have_attribute("data-done", "true", timeout=PATIENCE)
    beat = page.locator("#beat")
    expect(page.locator(".lesson-step")).to_contain_text(
        f"Step {1 + [one.key for one in STAGES].index(place.stage)} / 8"
    )
    if place.beat == "analogy":
        expect(beat.locator(".drawing")).to_be_visible()
    if place.beat == "demonstration":
        expect(beat.locator(".outcomes .is-true")).to_have_count(1)
        expect(beat.locator(".demo-limit")).to_have_count(0)
        expect(beat).to_contain_text("Run on the loaded models in")
    if place.beat == "proof":
        expect(beat.locator(".prove-verdict")).to_be_visible()
        expect(beat.locator(".arm").first).to_be_visible()


@pytest.mark.timeout(3600)
def test_space_alone_gives_the_whole_lesson_and_never_waits(page: Page, fresh_studio: str) -> None:
    opened(page, fresh_studio)
    reactions: list[tuple[str, float]] = []
    for place in PLACES:
        page.keyboard.press("Space")
        if place == Place("qlora", "proof"):
            # Read anew in the middle of a proof: it is found where it was, not begun again.
            page.locator(".prove-bar").wait_for()
            page.wait_for_timeout(3000)
            reactions += page.evaluate("reactions")
            before = _seconds(page)
            page.reload()
            page.locator("#presentation .prove-state").wait_for()
            assert _seconds(page) >= before
            page.evaluate(_WATCH)
        seen(page, place)
        if place.beat == "proof":
            expect(page.locator("#beat")).to_contain_text("measured now")
    reactions += page.evaluate("reactions")
    page.keyboard.press("Space")
    expect(page.locator("#presentation")).to_be_hidden()
    expect(page.get_by_role("tab", name="Base vs Chat", exact=True)).to_have_attribute("aria-selected", "true")
    slowest = max(reactions, key=lambda one: one[1])
    print(f"{len(reactions)} keys; the slowest took {slowest[1]:.0f} ms to show {slowest[0]}")
    assert [place for place, _ in reactions] == [str(place) for place in PLACES]
    assert slowest[1] <= REACTION, slowest


@pytest.mark.timeout(3600)
def test_by_itself_it_plays_to_the_end_and_can_be_paused(page: Page, fresh_studio: str) -> None:
    """Sixty times as fast as planned (`?pace=60`); a proof that the test before has measured is kept."""
    opened(page, f"{fresh_studio}/?pace=60")
    page.evaluate(
        """() => {
          globalThis.moves = [];
          document.addEventListener("studio:beat", ({detail}) => moves.push([detail.place, detail.by]));
          document.addEventListener("studio:beat-end", () => moves.push(["", "end"]));
        }"""
    )
    page.locator(".lesson-play").click()
    autoplay = page.locator('[data-act="autoplay"]')
    expect(autoplay).to_have_text("Pause")
    page.wait_for_function("moves.length > 2", timeout=PATIENCE)
    page.keyboard.press("a")
    expect(autoplay).to_have_text("Autoplay")
    stands = page.evaluate("studioBeat.at()")
    page.wait_for_timeout(4000)
    assert page.evaluate("studioBeat.at()") == stands
    page.keyboard.press("a")
    page.wait_for_function("moves.at(-1)[1] === 'end'", timeout=3 * PATIENCE)
    moves = page.evaluate("moves")
    assert [place for place, _ in moves] == [*map(str, PLACES), ""]
    assert {by for _, by in moves[1:-1]} == {"clock"}


def _seconds(page: Page) -> int:
    """How long the experiment on the screen has been running."""
    shown = page.locator(".prove-state").inner_text()
    return int(shown.rpartition("·")[2].split()[0])
