"""Everything that can be pressed, typed into or chosen in a tab is reached by the Tab key alone, and seen to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from pipelines.stages import STAGES, Stage

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MOST = 400  # stops of one tab; a page that has more is no longer walked through

# How everything that can have the focus looks without it.
PLAIN = """(stage) => {
  const look = (one) => {
    const style = getComputedStyle(one);
    return [style.outline, style.boxShadow, style.borderColor, style.backgroundColor, style.textDecoration].join("|");
  };
  const around = (own) => [own, own.parentElement, own.closest("label, .block, .wrap")].filter(Boolean);
  globalThis.looks = (own) => around(own).map(look).join();
  globalThis.plain = new Map([...document.querySelectorAll(`#stage-${stage} *`)].map((one) => [one, looks(one)]));
}"""
# Marks where the focus is, and says how it looks there.
STOP = """(stage) => {
  const own = document.activeElement, box = own.getBoundingClientRect();
  if (!own.closest(`#stage-${stage}`)) return {inside: false};
  const again = own.dataset.stopped === "yes";
  own.dataset.stopped = "yes";
  const labels = [...own.labels ?? []].map((one) => one.innerText).join(" ");
  const said = own.getAttribute("aria-label") || own.getAttribute("aria-labelledby") || labels || own.innerText
    || own.title || own.placeholder || "";
  const seen = own.checkVisibility({opacityProperty: false, visibilityProperty: true}) && box.width > 0;
  return {inside: true, again, named: Boolean(said.trim()), seen, marked: plain.get(own) !== looks(own),
    what: own.outerHTML.slice(0, 160)};
}"""
# What can be used in the open tab and was never reached. One radio button stands for its group, as the arrow keys walk
# through it; what has tabindex −1 is a part of something that has a stop.
MISSED = """(stage) => {
  const usable = "button, input, textarea, select, a[href], summary, [tabindex='0'], [role=slider], [role=combobox]";
  const groups = new Set([...document.querySelectorAll("[data-stopped]")].map((one) => one.name).filter(Boolean));
  return [...document.querySelectorAll(`#stage-${stage} :is(${usable})`)].filter((one) =>
    one.checkVisibility({visibilityProperty: true}) && !one.disabled && one.tabIndex >= 0 && !one.dataset.stopped
    && !(one.type === "radio" && groups.has(one.name)) && !one.closest("[inert], [aria-hidden=true]")
  ).map((one) => one.outerHTML.slice(0, 160));
}"""


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.key)
def test_the_tab_key_reaches_every_control_and_shows_where_it_is(open_page: Callable[..., Page], stage: Stage) -> None:
    page = open_page(f"/?tab={stage.key}")
    page.locator(f"#stage-{stage.key} .step").wait_for()
    page.wait_for_timeout(2_000)  # drawings and calculators fill in
    page.add_style_tag(content="* { transition: none !important; }")
    page.evaluate(PLAIN, stage.key)
    page.get_by_role("tab", name=stage.title, exact=True).focus()
    stops: list[dict[str, Any]] = []
    outside = 0
    for _ in range(MOST):
        page.keyboard.press("Tab")
        stop = page.evaluate(STOP, stage.key)
        # An open list of Gradio's takes one press to close, during which nothing has the focus.
        outside = 0 if stop["inside"] else outside + 1
        if outside and not (stops and outside > 1):
            continue
        if outside:
            break
        assert not stop["again"], f"the Tab key does not leave {stop['what']}"
        stops.append(stop)
    assert 5 < len(stops) < MOST
    assert [stop["what"] for stop in stops if not stop["named"]] == []
    assert [stop["what"] for stop in stops if not stop["seen"]] == []
    assert [stop["what"] for stop in stops if not stop["marked"]] == []
    assert page.evaluate(MISSED, stage.key) == []
