"""Start of the process to the served page: the studio against an eight-tab hello world, in turn."""

from __future__ import annotations

from statistics import median

from tests.benchmarks.figures import ROOT, Figure, serving

ROUNDS = 5


def figures() -> list[Figure]:
    """Medians of `ROUNDS` alternating starts after one that is not counted, and the median of the paired ratios."""
    studio, hello = [], []
    for _ in range(ROUNDS + 1):
        with serving(ROOT / "tests" / "benchmarks" / "hello.py") as (_, seconds):
            hello.append(seconds)
        with serving(ROOT / "studio.py") as (_, seconds):
            studio.append(seconds)
    studio, hello = studio[1:], hello[1:]
    ratio = median(ours / theirs for ours, theirs in zip(studio, hello, strict=True))
    how = f"median of {ROUNDS}, in turn"
    return [
        Figure("start-up, studio", f"{median(studio):.2f} s", how),
        Figure("start-up, eight-tab Gradio hello world", f"{median(hello):.2f} s", how),
        Figure("start-up, ratio", f"{ratio:.2f}", "median of the paired ratios; the goal is at most 1.3"),
    ]
