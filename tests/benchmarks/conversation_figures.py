"""Rendering and masking from outside: `/render` and `/loss_mask` over HTTP, and the SFT page in Chromium."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.figures import ROOT, Figure, Session, p95, serving

CALLS = 60
QUESTION, ANSWER = "What is the capital of France? " * 3, "The capital of France is Paris. " * 9
Chat = list[dict[str, str]]


def figures() -> list[Figure]:
    """Everything that needs one warm studio and conversations of a known length."""
    with serving(ROOT / "studio.py") as (address, _):
        session = Session(address)
        count = lambda chat: session.call("loss_mask", messages=chat, losses=False)["total"]  # noqa: E731
        chat = of_length(2_000, count)
        session.call("loss_mask", messages=chat)  # loads the model
        time.sleep(15)  # the training worker prepares itself in the background
        how = f"2,000 tokens, warm, over HTTP, p95 of {CALLS}; the goal is at most 50 ms"
        calls: dict[str, tuple[str, dict[str, Any]]] = {
            "/render": ("render", {"messages": chat, "template": "pocket"}),
            "/loss_mask without losses": ("loss_mask", {"messages": chat, "losses": False}),
            "/loss_mask with losses": ("loss_mask", {"messages": chat}),
        }
        rows = [_timed(title, how, session, name, given) for title, (name, given) in calls.items()]
        rows.append(_timed("a call that does nothing", "/templates, the same way", session, "templates", {}))
        return rows + _page(address, of_length(4_000, count))


def of_length(tokens: int, count: Callable[[Chat], int]) -> Chat:
    """A conversation of at least `tokens` tokens and at most one turn more; `count` counts one."""
    pair = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]
    one, two = count(pair), count(pair * 2)
    return pair * math.ceil((tokens - (2 * one - two)) / (two - one))


def _timed(title: str, how: str, session: Session, name: str, given: dict[str, Any]) -> Figure:
    seconds = _repeat(lambda: session.call(name, **given))
    return Figure(title, f"{1000 * p95(seconds):.0f} ms (median {1000 * median(seconds):.0f})", how)


def _repeat(call: Callable[[], Any]) -> list[float]:
    seconds = []
    for _ in range(CALLS):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return seconds


def _page(address: str, chat: Chat) -> list[Figure]:
    """The SFT tab with `chat` as the browser's lesson: until its tokens stand there, after an edit, and how long the
    page does not answer meanwhile."""
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import CHROMIUM, FLAGS

    if not Path(CHROMIUM).exists():
        return []
    lesson = json.dumps(json.dumps({"messages": chat, "template": "pocket"}))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.set_default_timeout(120_000)
        page.add_init_script(f"localStorage.setItem('fine-tuning-studio.lesson', {lesson}); {_WATCH}")
        page.goto(f"{address}/?tab=sft")
        page.wait_for_function("document.querySelectorAll('#stage-sft .mask .piece').length >= 4000")
        opened = page.evaluate("performance.now()") / 1000
        page.wait_for_timeout(3_000)  # TRL is asked after the drawing
        edits, longest = [], []
        for number in range(5):
            page.evaluate("window.longest = 0")
            area = page.locator("#stage-sft .turn textarea").last
            began = time.perf_counter()
            area.fill(f"The capital of France is Paris, {number}{number}.")
            page.wait_for_function(
                f"[...document.querySelectorAll('#stage-sft .mask .piece')].slice(-12).map((piece) => "
                f"piece.textContent).join('').includes('{number}{number}')"
            )
            edits.append(time.perf_counter() - began)
            page.wait_for_timeout(500)
            longest.append(page.evaluate("window.longest"))
        tall = page.evaluate(_SCROLL)
        browser.close()
    return [
        Figure("SFT page: 4,000 tokens shown", f"{opened:.1f} s", "from opening the page, studio warm"),
        Figure("SFT page: 4,000 tokens after an edit", f"{median(edits):.2f} s", "last answer changed, median of 5"),
        Figure("SFT page: longest pause while it redraws", f"{median(longest):.0f} ms", "main thread, median of 5"),
        Figure("SFT page: longest frame while scrolling", f"{tall:.0f} ms", "4,000 tokens, 60 steps of 100 pixels"),
    ]


# The longest task of the page's main thread, in milliseconds, since it was last set to 0.
_WATCH = """
window.longest = 0;
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
}).observe({type: "longtask", buffered: true});
"""
_SCROLL = """() => new Promise((done) => {
  let steps = 0, longest = 0, before = performance.now();
  const step = (now) => {
    if (steps) longest = Math.max(longest, now - before);
    before = now;
    window.scrollBy(0, 100);
    if (++steps < 60) requestAnimationFrame(step); else done(longest);
  };
  requestAnimationFrame(step);
})"""
