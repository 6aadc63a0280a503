"""Many people at once: the studio beside a plain Gradio app that calls `generate` behind Gradio's queue.

    python -m tests.benchmarks.serving [--people 1 8 30 100] [--rounds 3] [--tokens 64] [--only studio|plain]

Everybody asks the pocket base in the same moment, through a `gradio_client` of their own, `rounds` times over; for each
count of people and each app it prints time to first token (p50, p95), tokens per second of all together and of one
person (median, slowest; of answers that were not over early, in brackets how many), and the peak memory of the process
that serves.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.figures import ROOT, p95, serving

LOOK = 0.01  # seconds between two looks at everybody's answers
POCKET = ROOT / "assets" / "models" / "pocket-base"
QUESTIONS = (
    "What is the capital of France?",
    "Where do penguins live?",
    "Photosynthesis is",
    "What is the largest planet?",
    "Iron is an element",
    "Who wrote Hamlet?",
)


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer as its reader saw it; seconds from the moment that everybody asked."""

    first: float
    last: float
    tokens: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, nargs="+", default=[1, 8, 30, 100])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--only", choices=("studio", "plain"))
    options = parser.parse_args()
    print("| people | app | first token p50 / p95 | tokens/s, all | a person, median / slowest | failed | peak |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for people in options.people:
        for app, script, arguments in (
            ("studio", ROOT / "studio.py", ()),
            ("plain", ROOT / "tests" / "benchmarks" / "plain_app.py", (str(POCKET),)),
        ):
            if options.only in (None, app):
                # A plain app would answer a hundred people for minutes; one round shows its rate.
                rounds = options.rounds if app == "studio" else 1
                print(_row(people, app, script, arguments, rounds, options.tokens), flush=True)


def _row(people: int, app: str, script: Path, arguments: tuple[str, ...], rounds: int, tokens: int) -> str:
    with serving(script, *arguments) as (address, _):
        clients = _clients(address, people)
        _round(clients[:1], app, 0, tokens, [], [])  # loads the model
        time.sleep(5)  # the studio's training worker prepares itself
        answers: list[Answered] = []
        faults: list[str] = []
        seconds = 0.0
        for number in range(rounds):
            seconds += _round(clients, app, number, tokens, answers, faults)
        peak = _peak(address)
    firsts = [each.first for each in answers]
    # An answer of one word takes as long as its first token: its rate says nothing of who had to wait for whom.
    rates = [each.tokens / each.last for each in answers if each.tokens == tokens]
    spread = f"{median(rates):,.1f} / {min(rates):,.1f} ({len(rates)})" if rates else "all over early"
    total = sum(each.tokens for each in answers) / seconds
    return (
        f"| {people} | {app} | {median(firsts):.2f} / {p95(firsts):.2f} s | {total:,.0f} | "
        f"{spread} | {len(faults)} | {peak / 2**20:,.0f} MiB |"
    )


def _clients(address: str, people: int) -> list[Any]:
    from gradio_client import Client

    # Of an address without TLS there is nothing to verify, and reading the certificates for each call takes 30 ms.
    return [Client(address, verbose=False, ssl_verify=False) for _ in range(people)]


def _round(clients: list[Any], app: str, number: int, tokens: int, answers: list[Answered], faults: list[str]) -> float:
    """Everybody asks at once; seconds until the last has the whole answer."""
    began = time.perf_counter()
    asked = []
    for seed, client in enumerate(clients):
        given = {"prompt": QUESTIONS[seed % len(QUESTIONS)], "max_new_tokens": tokens, "temperature": 0.8}
        if app == "studio":
            given |= {"model": "base", "seed": number * len(clients) + seed}
        asked.append((time.perf_counter(), client.submit(**given, api_name="/complete")))
    firsts: dict[int, float] = {}
    lasts: dict[int, float] = {}
    while len(lasts) < len(asked):
        # One thread looks after all: a job that is iterated over looks a thousand times a second, and thirty of them
        # took more of the machine than the studio did.
        time.sleep(LOOK)
        for place, (since, job) in enumerate(asked):
            if place in lasts:
                continue
            if place not in firsts and any(state["new_tokens"] for state in job.communicator.job.outputs):
                firsts[place] = time.perf_counter() - since
            if job.done():
                lasts[place] = time.perf_counter() - since
    for place, (_, job) in enumerate(asked):
        try:
            tokens = (job.outputs() or [job.result()])[-1]["new_tokens"]
            answers.append(Answered(firsts.get(place, lasts[place]), lasts[place], tokens))
        except Exception as error:
            faults.append(str(error))
    return time.perf_counter() - began


def _peak(address: str) -> int:
    """The most memory that the process listening at an address has had, in bytes."""
    port = int(address.rpartition(":")[2])
    inodes = {
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].partition(":")[2], 16) == port
    }
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = {str(link.readlink()) for link in (process / "fd").iterdir()}
            if links & {f"socket:[{inode}]" for inode in inodes}:
                lines = (process / "status").read_text().splitlines()
                return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
        except OSError:
            continue
    return 0


if __name__ == "__main__":
    main()
