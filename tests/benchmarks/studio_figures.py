"""A warm studio from outside: time to first token, tokens per second, and the live fine-tuning run."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from tests.benchmarks.figures import ROOT, Figure, serving

PROMPT = "What is the capital of France?"
POLL_SECONDS = 0.1


def figures() -> list[Figure]:
    """Everything that needs one running studio, asked through `gradio_client`."""
    from gradio_client import Client

    with serving(ROOT / "studio.py") as (address, _):
        began = time.perf_counter()
        studio = Client(address, verbose=False)
        studio.predict(prompt=PROMPT, model="base", max_new_tokens=1, api_name="/complete")
        cold = time.perf_counter() - began
        rows = [Figure("first answer of a cold studio", f"{cold:.1f} s", "from the served page, models loading")]
        studio.predict(prompt=PROMPT, model="instruct", max_new_tokens=1, api_name="/complete")
        rows += _streaming(studio)
        time.sleep(15)  # the training worker prepares itself in the background
        return rows + _finetuning(studio)


def _streaming(studio: Any) -> list[Figure]:
    firsts, rates = [], []
    for seed in range(7):
        began = time.perf_counter()
        job = studio.submit(
            prompt=PROMPT, model="base", max_new_tokens=128, temperature=0.8, seed=seed, api_name="/complete"
        )
        iterator = iter(job)
        next(iterator)
        firsts.append(time.perf_counter() - began)
        last = list(iterator)[-1]
        rates.append(last["new_tokens"] / last["seconds"])
    return [
        Figure("time to first token", f"{1000 * median(firsts):.0f} ms", "one person, over HTTP, median of 7"),
        Figure("tokens per second", f"{median(rates):.0f}", "one person, streaming 128 tokens, median of 7"),
    ]


def _finetuning(studio: Any) -> list[Figure]:
    began = time.perf_counter()
    run_id = studio.predict(config={}, api_name="/finetune")["run_id"]
    first = to_80 = to_85 = None
    while True:
        run = studio.predict(run_id=run_id, api_name="/run")
        now = time.perf_counter() - began
        if first is None and (run["loss"] or run["eval"]):
            first = now
        best = max((point["accuracy"] for point in run["eval"][1:]), default=0)
        to_80 = to_80 or (now if best >= 0.80 else None)
        to_85 = to_85 or (now if best >= 0.85 else None)
        if run["status"] in ("finished", "failed", "stopped"):
            break
        time.sleep(POLL_SECONDS)
    if run["status"] != "finished":
        raise RuntimeError(f"the run ended as {run['status']}: {run['error']}")
    before, after = run["eval"][0]["accuracy"], run["eval"][-1]["accuracy"]

    def seconds(value: float | None) -> str:
        return "not reached" if value is None else f"{value:.1f} s"

    return [
        Figure("fine-tuning: click to first point", seconds(first), "default settings, warm worker"),
        Figure("fine-tuning: click to 80 % held-out accuracy", seconds(to_80), "default settings"),
        Figure("fine-tuning: click to 85 % held-out accuracy", seconds(to_85), "default settings"),
        Figure("fine-tuning: click to the end", seconds(now), "default settings"),
        Figure("held-out accuracy before and after", f"{before:.1%} → {after:.1%}", "default settings"),
    ]
