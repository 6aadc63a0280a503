"""The calculators from outside: `/lora` and `/memory` over HTTP, and from a slider's move to the redraw in Chromium."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.figures import ROOT, Figure, Session, p95, serving

ROUNDS = 40  # calls of each endpoint, and moves of each slider
MODELS = ("llama-3.1-405b", "llama-3.1-8b", "mixtral-8x7b", "pocket")
# The largest model alone, and several in turn; each call has another rank, so that nothing is answered from memory.
CALLS: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "/lora, llama-3.1-405b": ("lora", MODELS[:1], {}),
    "/lora, four models in turn": ("lora", MODELS, {}),
    "/memory, llama-3.1-405b": ("memory", MODELS[:1], {}),
    "/memory, four models in turn": ("memory", MODELS, {}),
    "/memory, llama-3.1-405b in full, 8 GPUs": (
        "memory",
        MODELS[:1],
        {"method": "full", "gpus": 8, "sharding": "fsdp"},
    ),
}
SLIDERS = {
    "LoRA": ("lora", "Rank r", "#stage-lora .data-figures"),
    "QLoRA": ("qlora", "Rank r", "#stage-qlora .memory-figures"),
}


def figures() -> list[Figure]:
    """Everything that needs one warm studio."""
    with serving(ROOT / "studio.py") as (address, _):
        studio = Session(address)
        for endpoint, models, arguments in CALLS.values():
            for model in models:
                studio.call(endpoint, model=model, **arguments)
        time.sleep(15)  # models and the training worker prepare themselves in the background
        rows = []
        for name, (endpoint, models, arguments) in CALLS.items():
            seconds = []
            for r, model in zip(range(1, ROUNDS + 1), itertools.cycle(models), strict=False):
                began = time.perf_counter()
                studio.call(endpoint, model=model, r=r, **arguments)
                seconds.append(time.perf_counter() - began)
            rows.append(_row(name, seconds, "warm, over HTTP", 100))
        return rows + _redraws(address)


def _redraws(address: str) -> list[Figure]:
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import CHROMIUM, FLAGS

    if not Path(CHROMIUM).exists():
        return []
    rows = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for tab, (key, label, shown) in SLIDERS.items():
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            page.set_default_timeout(120_000)
            page.goto(f"{address}/?tab={key}")
            page.locator(shown).first.wait_for()
            page.wait_for_timeout(3_000)  # what the opening of the tab still draws
            slider = page.locator(f"#stage-{key}").get_by_role("slider", name=label)
            # The first move is not counted: it loads what only a change of the settings needs.
            moves = [slider.evaluate(_MOVE, [shown, 20 + move]) / 1000 for move in range(ROUNDS // 2 + 1)][1:]
            rows.append(_row(f"{tab} tab: from moving the rank to the redraw", moves, "Chromium, default model", 150))
            page.close()
        browser.close()
    return rows


# Moves a range input as a drag would, and waits for the frame in which the drawing has changed; milliseconds.
_MOVE = """(slider, [shown, value]) => new Promise((done) => {
  const drawn = () => document.querySelector(shown)?.textContent;
  const before = drawn();
  const write = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  const began = performance.now();
  write.call(slider, value);
  slider.dispatchEvent(new Event("input", {bubbles: true}));
  const look = () => drawn() !== before ? done(performance.now() - began) : requestAnimationFrame(look);
  requestAnimationFrame(look);
})"""


def _row(name: str, seconds: list[float], how: str, goal: int) -> Figure:
    value = f"{1000 * p95(seconds):.0f} ms (median {1000 * median(seconds):.0f})"
    return Figure(name, value, f"{how}, p95 of {len(seconds)}; the goal is at most {goal} ms")
