"""The drawings of the tabs in a browser: their room is kept, they come by themselves, and they can be taken along."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Page, Route, expect

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("stage, width", [("problem", 1280), ("lora", 390)])
def test_a_drawing_comes_into_its_place_and_moves_nothing(
    open_page: Callable[..., Page], stage: str, width: int
) -> None:
    page = open_page("/?tab=data", width=width)
    held: list[Route] = []
    page.route("**/run/predict", lambda route: held.append(route))  # nothing comes yet
    page.get_by_role("tab", name={"problem": "Problem", "lora": "LoRA"}[stage], exact=True).click()
    place = page.locator(f"#stage-{stage} .drawing-place")
    place.scroll_into_view_if_needed()
    expect(place).to_have_attribute("aria-busy", "true")
    kept = place.bounding_box()
    for route in held:
        route.continue_()
    page.unroute("**/run/predict")
    expect(place.get_by_role("figure")).to_be_visible()
    came = place.bounding_box()
    assert kept and came and came["height"] == pytest.approx(kept["height"], abs=2)
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_a_drawing_is_saved_as_a_picture_with_its_caption(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=lora")
    figure = page.locator("#stage-lora .drawing")
    expect(figure.get_by_role("img", name="Two thin matrices, true to scale.")).to_be_visible()
    with page.expect_download() as saved:
        figure.get_by_role("button", name="SVG").click()
    assert saved.value.suggested_filename == "studio-lora.svg"
    written = " ".join(ElementTree.parse(saved.value.path()).getroot().itertext())
    assert "16,777,216" in written and "Two thin matrices, true to scale." in written and "Save as" not in written
    with page.expect_download() as saved:
        figure.get_by_role("button", name="PNG").click()
    assert saved.value.path().read_bytes().startswith(b"\x89PNG")


def test_who_wants_no_motion_gets_none(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=data")
    page.emulate_media(reduced_motion="reduce")
    page.get_by_role("tab", name="SFT", exact=True).click()
    expect(page.locator("#stage-sft .token.is-on").first).to_be_visible()
    moving = "document.getAnimations().filter((one) => /^(mask|drawing)-/.test(one.animationName)).length"
    assert page.evaluate(moving) == 0
