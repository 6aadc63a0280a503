"""The controls speak the language of the browser; everything else stays what it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from components.languages import LANGUAGES, words

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    "locale", [code if code == "de" else pytest.param(code, marks=pytest.mark.slow) for code in LANGUAGES]
)
def test_the_controls_speak_the_language_of_the_browser(open_page: Callable[..., Page], locale: str) -> None:
    said = words(LANGUAGES[locale])
    page = open_page("/?tab=problem", locale=locale)
    for tab in ("Problem", "Data", "Practice"):
        expect(page.get_by_role("tab", name=said[tab], exact=True)).to_be_visible()
    panel = page.locator("#stage-problem")
    for verb in ("Explain", "Play", "Prove", "Take home"):
        expect(panel.get_by_role("heading", name=said[verb], exact=True)).to_be_visible()
    expect(panel.get_by_role("button", name=said["Ask both"], exact=True)).to_be_visible()
    expect(panel.get_by_label(said["Temperature"]).first).to_be_visible()
    expect(panel).to_contain_text(said["0 takes the likeliest token"])
    save = said["Download {file}"].format(file="base_and_instruct.py")
    expect(panel.get_by_role("button", name=save, exact=True)).to_be_visible()
    assert "__i18n__" not in page.locator("body").inner_text()
