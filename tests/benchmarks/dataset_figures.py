"""A data set of 100,000 rows, checked and cleaned in a process of its own, whose time and memory are then its alone."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.figures import ROOT, Figure

ROWS, WORDS = 100_000, 8_000
# 2 % of the answers are empty and 1 % of the rows are said again, so that every check has something to find.
EMPTY, AGAIN = 50, 100
_PASS = """
import json, resource, sys, time
from pathlib import Path
from pipelines.data.cleaning import clean
from pipelines.data.inspection import Checks, Measure, inspect
from pipelines.data.reading import read_rows

rows, folder, tokenizer = Path(sys.argv[1]), Path(sys.argv[1]).parent, sys.argv[2]
counter = None
if tokenizer:
    from transformers import AutoTokenizer
    from pipelines.data.tokens import template_counter
    counter = template_counter(AutoTokenizer.from_pretrained(tokenizer))
began = time.perf_counter()
found = inspect(read_rows(rows), "benchmark", folder / "checked.jsonl", Checks(Measure(counter=counter)))
kept = clean(found, folder / "checked.jsonl", folder / "clean.jsonl")
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"seconds": time.perf_counter() - began, "gib": used / 2**20, "kept": kept,
                  "counts": {kind.name: count for kind, count in found.counts.items()}}))
"""


def figures() -> list[Figure]:
    """With lengths estimated, as an upload starts, and with lengths in the tokens of the embedded pair."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        write_rows(path)
        megabytes = path.stat().st_size / 1e6
        for title, tokenizer in (("", ""), (", tokens counted", str(ROOT / "assets/models/pocket-instruct"))):
            answer = subprocess.run(
                [sys.executable, "-c", _PASS, str(path), tokenizer],
                cwd=ROOT, capture_output=True, text=True, check=True,
            )  # fmt: skip
            found = json.loads(answer.stdout)
            how = f"JSONL of {megabytes:.0f} MB; {found['counts']}; {found['kept']:,} kept; the goal is 60 s, 2 GB"
            value = f"{found['seconds']:.1f} s, {found['gib']:.2f} GiB at most"
            rows.append(Figure(f"{ROWS:,} rows checked and cleaned{title}", value, how))
    return rows


def write_rows(path: Path) -> None:
    """Alpaca rows of random words: 5 to 40 in the instruction, 1 to 12 sentences in the answer. Seeded."""
    draw = random.Random(0)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(2, 9))) for _ in range(WORDS)]
    line = ""
    with path.open("w", encoding="utf-8") as lines:
        for number in range(ROWS):
            if not line or number % AGAIN:
                asked = " ".join(draw.choices(words, k=draw.randint(5, 40))) + "?"
                said = ". ".join(
                    " ".join(draw.choices(words, k=draw.randint(5, 15))) for _ in range(draw.randint(1, 12))
                )
                output = f"{said}." if number % EMPTY else ""
                line = json.dumps({"instruction": asked, "input": "", "output": output}) + "\n"
            lines.write(line)
