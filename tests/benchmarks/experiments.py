"""Verdicts, numbers and times of all experiments over several seeds: `python -m tests.benchmarks.experiments`.

    --stages problem,lora   which (default eight)      --seeds 1-10   which (default 1-10)      --lines FILE  where kept

Each experiment runs alone, by the command that the page prints. CPU seconds are those of its process and of all it
forked; halved, they are what two quiet cores take at least. Every result is appended to FILE at once, and what is
there already is not measured again, so that a long table can be made in pieces.

    --twice   measures each twice and says whether the second result is the first, number for number (seconds left out)
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.experiments.catalogue import BEYOND, EXPERIMENTS
from pipelines.experiments.reports import command

ROOT = Path(__file__).resolve().parents[2]


def measured(stage: str, seed: int) -> dict[str, Any]:
    """One result with its wall-clock and CPU seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, *command(stage, seed, "pocket").split()[1:]], cwd=ROOT, capture_output=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = json.loads(done.stdout.splitlines()[-1])
    details = result["details"]
    return {
        "stage": stage,
        "seed": seed,
        "verdict": details["verdict"],
        "measured": result["measured"],
        "arms": {arm["name"]: arm["value"] for arm in details["arms"]},
        "conditions": {one["says"]: one["value"] for one in details["conditions"] if "seconds" not in one["says"]},
        "seconds": time.monotonic() - began,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }


def repeats(stage: str, seed: int) -> bool:
    """Whether the experiment, run twice, gives the same numbers: of every arm, and of every part of its rule."""
    first, second = (measured(stage, seed) for _ in range(2))
    return all(first[part] == second[part] for part in ("verdict", "arms", "conditions"))


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: one line for each experiment, then one for each arm."""
    lines = [
        "| experiment | seeds | holds | does not | not decided | wall s, median (max) | CPU s, median |",
        "| --- " * 7 + "|",
    ]
    arms = ["| experiment | arm | mean | 95 % interval | lowest to highest |", "| --- " * 5 + "|"]
    for stage in EXPERIMENTS | BEYOND:
        own = [row for row in rows if row["stage"] == stage]
        if not own:
            continue
        verdicts = [row["verdict"] for row in own]
        counts = [sum(v.startswith(word) for v in verdicts) for word in ("holds", "does not", "not decided")]
        seconds = [row["seconds"] for row in own]
        lines.append(
            f"| {stage} | {len(own)} | {' | '.join(map(str, counts))} | {statistics.median(seconds):.0f} "
            f"({max(seconds):.0f}) | {statistics.median(row['cpu'] for row in own):.0f} |"
        )
        for name in own[0]["arms"]:
            values = [row["arms"][name] for row in own]
            low, high = interval(values)
            arms.append(
                f"| {stage} | {name} | {statistics.mean(values):.1%} | {low:.1%} to {high:.1%} | "
                f"{min(values):.1%} to {max(values):.1%} |"
            )
    return "\n".join([*lines, "", *arms])


def interval(values: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over seeds (Efron 1979)."""
    given = np.asarray(values)
    picked = np.random.default_rng(0).integers(0, given.size, (10_000, given.size))
    low, high = np.quantile(given[picked].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    """Measure what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stages", default=",".join(EXPERIMENTS))
    parser.add_argument("--seeds", default="1-10")
    parser.add_argument("--lines", type=Path, default=Path("experiments.jsonl"))
    parser.add_argument("--twice", action="store_true", help="whether the same seed gives the same numbers")
    chosen = parser.parse_args()
    first, _, last = chosen.seeds.partition("-")
    if chosen.twice:
        for stage in chosen.stages.split(","):
            print(f"{stage}: {'the same' if repeats(stage, int(first)) else 'NOT the same'} numbers", flush=True)
        return
    rows = [json.loads(line) for line in chosen.lines.read_text().splitlines()] if chosen.lines.exists() else []
    have = {(row["stage"], row["seed"]) for row in rows}
    for seed in range(int(first), int(last or first) + 1):
        for stage in chosen.stages.split(","):
            if (stage, seed) not in have:
                rows.append(measured(stage, seed))
                with chosen.lines.open("a") as file:
                    file.write(json.dumps(rows[-1], ensure_ascii=False) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
