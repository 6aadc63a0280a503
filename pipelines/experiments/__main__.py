"""One experiment in a process of its own: `python -m pipelines.experiments lora --seed 1`.

Prints JSON lines: progress as it goes, then the result, the same numbers for the same seed. Exit status 0 when the
experiment ran, whatever its verdict; 2 for a wrong value, with one line that says so.
"""

from __future__ import annotations

import time

_BEGAN = time.monotonic()

import argparse  # noqa: E402
import contextlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from typing import Any  # noqa: E402

from pipelines.errors import InputError  # noqa: E402
from pipelines.experiments.bench import Bench  # noqa: E402
from pipelines.experiments.catalogue import BEYOND, EXPERIMENTS, Experiment, experiment  # noqa: E402
from pipelines.experiments.records import Progress  # noqa: E402
from pipelines.experiments.reports import Report, progress_dict  # noqa: E402
from pipelines.priority import give_way  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.experiments", description=__doc__.splitlines()[0])
    parser.add_argument("stage", help=f"one of: {', '.join(EXPERIMENTS | BEYOND)}")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another sample (default 0)")
    parser.add_argument("--pair", default="pocket", help="the pair to ask: a key of the catalogue, or BASE,INSTRUCT")
    parser.add_argument("--watched", action="store_true", help="end when standard input does (for the studio)")
    chosen = parser.parse_args(arguments)
    if chosen.watched:
        give_way()
        threading.Thread(target=_end_with_input, daemon=True).start()
    # Libraries print what they like to standard output, which here belongs to the lines.
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    with contextlib.redirect_stdout(sys.stderr):
        try:
            asked = experiment(chosen.stage)
            _say(lines, "progress", progress_dict(Progress(0.0, "loading the libraries")))
            _prepare(asked)
            report = _run(asked, chosen.pair, chosen.seed, lines)
        except InputError as error:
            _say(lines, "error", {"text": str(error)})
            print(error, file=sys.stderr)
            return 2
    _say(lines, "result", report.as_dict())
    return 0


def _run(asked: Experiment, pair: str, seed: int, lines: Any) -> Report:
    steps = asked.measure(Bench(pair, seed, trains=asked.trains))
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            return Report(asked.claim, end.value, seed, pair, time.monotonic() - _BEGAN)
        _say(lines, "progress", progress_dict(progress))


def _say(lines: Any, kind: str, value: dict[str, Any]) -> None:
    lines.write(json.dumps({"kind": kind} | value, ensure_ascii=False) + "\n")
    lines.flush()


def _prepare(asked: Experiment) -> None:
    """Import before anything is forked, and compute with one thread (see `pipelines.experiments.bench`)."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if asked.trains:
        import peft  # noqa: F401


def _end_with_input() -> None:
    """The studio holds the other end: when it goes, however it goes, so does everything that this process started."""
    # Not by way of `sys.stdin`: its lock, held while it waits, would be held for ever in each forked process, and they
    # close their standard input first.
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
