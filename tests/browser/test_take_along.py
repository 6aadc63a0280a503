"""What a person takes along from a page: a figure as a picture, as numbers, as a slide; a link to what they see."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.browser

# Width and height of the picture on the clipboard, and how many colours a grid of its points has.
COPIED = """async () => {
  const [item] = await navigator.clipboard.read();
  const image = await createImageBitmap(await item.getType("image/png"));
  const canvas = new OffscreenCanvas(image.width, image.height), pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  const colours = new Set();
  for (let x = 0; x < image.width; x += 9) {
    for (let y = 0; y < image.height; y += 9) colours.add(pen.getImageData(x, y, 1, 1).data.join());
  }
  return {width: image.width, height: image.height, colours: colours.size};
}"""
NAMES = "(names) => names.map((one) => one.firstChild.textContent.trim())"


def saved(figure: Locator, kind: str) -> tuple[str, bytes]:
    """The name and the content of the file that the button gives."""
    with figure.page.expect_download() as download:
        figure.get_by_role("button", name=kind, exact=True).click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def test_a_chart_is_saved_as_picture_and_as_numbers(open_page: Callable[..., Page]) -> None:
    figure = open_page("/?tab=qlora").locator("#stage-qlora figure.chart").first
    expect(figure).to_contain_text("Memory of one GPU at the peak", timeout=60_000)
    name, text = saved(figure, "CSV")
    assert name == "studio-memory-of-one-gpu-at-the-peak.csv"
    rows = list(csv.reader(io.StringIO(text.decode(), newline="")))
    drawn = figure.locator(".stack-name").evaluate_all(NAMES)
    assert len(rows[0]) > 4 and [row[0].strip() for row in rows[1 : len(drawn) + 1]] == drawn
    name, text = saved(figure, "SVG")
    root = ElementTree.fromstring(text)
    written = " ".join(root.itertext())
    assert name.endswith(".svg") and all(word in written for word in drawn) and "Save as" not in written
    assert len(root.findall(".//{*}rect")) > figure.locator(".part").count() > 3
    assert saved(figure, "PNG")[1].startswith(b"\x89PNG")


def test_a_figure_is_copied_as_a_slide(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=qlora")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    figure = page.locator("#stage-qlora figure.chart").first
    figure.get_by_role("button", name="Copy as slide").click(timeout=60_000)
    expect(figure.get_by_role("status")).to_contain_text("Copied")
    picture: dict[str, Any] = page.evaluate(COPIED)
    assert (picture["width"], picture["height"]) == (1920, 1080)
    assert picture["colours"] > 8
    # Where the browser copies no pictures, the slide is a file.
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    name, file = saved(figure, "Copy as slide")
    assert name == "studio-memory-of-one-gpu-at-the-peak-slide.png" and file.startswith(b"\x89PNG")
    expect(figure.get_by_role("status")).to_contain_text("saved as a file")


def test_a_link_shows_others_what_was_chosen(open_page: Callable[..., Page]) -> None:
    page = open_page("/?tab=lora")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#stage-lora").get_by_label("lora_alpha").fill("48")
    page.wait_for_function("studioLesson.all().alpha === 48")
    page.locator("#stage-lora").get_by_role("button", name="Copy link").click()
    expect(page.locator("#stage-lora .step-link")).to_contain_text("Link copied")
    link = page.evaluate("navigator.clipboard.readText()")
    # With a prompt that is markup, and two values that are none: no number, and no conversation.
    path = "/?" + link.partition("/?")[2] + "&prompt=Who+wrote+%3Cb%3EHamlet%3C%2Fb%3E%3F&r=none&messages=%5Bnull%5D"
    other = open_page(path)
    expect(other.get_by_role("tab", name="LoRA", exact=True)).to_have_attribute("aria-selected", "true")
    expect(other.locator("#stage-lora").get_by_label("lora_alpha")).to_have_value("48")
    assert other.url.endswith("/?tab=lora")  # what the link says is chosen now, and no longer the link's
    other.get_by_role("tab", name="Problem", exact=True).click()
    prompt = other.locator("#stage-problem").get_by_label("Prompt", exact=True)
    expect(prompt).to_have_value("Who wrote <b>Hamlet</b>?")
    assert set(other.evaluate("Object.keys(studioLesson.all())")) == {"alpha", "prompt"}
