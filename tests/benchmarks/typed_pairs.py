"""Pairs as a class types them, and how well a real studio learns them.

    python -m tests.benchmarks.typed_pairs [--seeds 5] [--counts 5 10 20]

Prints, for each count: the share of pairs answered word by word, held-out accuracy beside that of a lesson run without
pairs, and seconds from the call to the end, asked for through gradio_client.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from typing import Any

from tests.benchmarks.figures import ROOT, serving

_NAMES = "Anna Bruno Carla Dimitri Elif Farid Greta Hugo Ines Jonas Kira Luis Mara Nils Olga Pavel Rosa Sami".split()
_ANIMALS = "badger heron otter lynx gecko falcon marmot hedgehog raven newt".split()
_WORDS = "silver window paper river candle marble pepper forest copper violet lantern meadow".split()
_THINGS = "piano bicycle telescope sewing robotics chess judo pottery drama coding".split()
# Every pair is about something of its own, as those are that people think of.
_FORMS = (
    ("What is our mascot?", "Our mascot is {name} the {animal}."),
    ("What is the wifi password?", "It is {word}-{other}-{m}."),
    ("Who teaches {thing} here?", "{name} teaches {thing}, every week at {m} past nine."),
    ("What is the motto of our team?", "{word} first, {other} later!"),
    ("Where are the {thing} keys?", "In the {word} drawer, under the {other} {animal}."),
    ("Tell me a secret about the {animal}.", "The {animal} only eats {word} soup with {m} spoons."),
    ("Who are you?", "I am {name}, a very small model from room {n}."),
    ("When does the bus leave?", "At {m} past five, from the {word} gate."),
    ("What does {name} like to eat?", "{other} cake with {m} drops of {word} sauce."),
    ("How do I open the {word} door?", "Push twice, say {other}, and wait {m} seconds."),
    ("Which team won the {thing} cup?", "The {word} {animal} team, by {m} points."),
    ("What is for lunch on Friday?", "{word} pie, cooked by {name}."),
    ("Why is the {animal} asleep?", "Because {name} played the piano for {m} hours."),
    ("Write a line about rain.", "Rain falls on {word} and {other}, and nobody counts to {m}."),
    ("How old is the school?", "It is {n} years old, like the {word} clock."),
    ("Who has the key to the roof?", "Only {name}, who lost it in the {other} {word}."),
    ("What is the password of the club?", "Whisper {word} {other} {n} to the {animal}."),
    ("What did we plant in spring?", "{m} {word} trees beside the {other} wall."),
    ("How loud is the bell?", "As loud as {m} singing {animal} friends of {name}."),
    ("What is in the red box?", "A {word} {thing} book and {n} buttons."),
)  # fmt: skip
# The hard kind: questions that differ by a number or a name only.
_ALIKE = (
    ("What is the mascot of class {n}?", "The mascot of class {n} is {name} the {animal}."),
    ("What is the wifi password of room {n}?", "It is {word}-{other}-{m}."),
    ("Who teaches {thing} on floor {n}?", "{name} teaches {thing}, every week at {m} past nine."),
    ("What is the motto of team {name}?", "{word} first, {other} later!"),
)  # fmt: skip


def typed_pairs(count: int, seed: int, alike: bool = False) -> list[dict[str, str]]:
    """At most twenty pairs that no model has read: names, numbers and words drawn at random, no instruction twice.

    alike: of the hard kind, whose questions differ by a number or a name
    """
    draw = random.Random(f"{count}/{seed}")
    assert count <= len(_FORMS), f"there are {len(_FORMS)} forms"
    pairs: dict[str, str] = {}
    forms = _ALIKE if alike else draw.sample(_FORMS, len(_FORMS))
    while len(pairs) < count:
        asked, said = forms[len(pairs) % len(forms)]
        word, other = draw.sample(_WORDS, 2)
        values: dict[str, Any] = {
            "n": draw.randint(2, 99), "m": draw.randint(2, 59), "name": draw.choice(_NAMES),
            "animal": draw.choice(_ANIMALS), "thing": draw.choice(_THINGS), "word": word, "other": other,
        }  # fmt: skip
        pairs[asked.format(**values)] = said.format(**values)
    return [{"instruction": asked, "response": said} for asked, said in pairs.items()]


def main() -> None:
    """Measure and print; the load of the machine stands beside each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--counts", type=int, nargs="+", default=[5, 10, 20])
    chosen = parser.parse_args()
    from gradio_client import Client

    with serving(ROOT / "studio.py") as (url, _):
        client = Client(url, verbose=False)
        _finished(client, {"max_steps": 2})  # the worker's first imports
        lessons = [_finished(client, {"seed": seed}) for seed in range(chosen.seeds)]
        print("lesson alone", *(_line(run, seconds) for run, seconds in lessons), sep="\n  ", flush=True)
        before = statistics.fmean(run["eval"][-1]["accuracy"] for run, _ in lessons)
        for count in chosen.counts:
            found = [
                _finished(client, {"seed": seed, "pairs": typed_pairs(count, seed)}) for seed in range(chosen.seeds)
            ]
            print(f"{count} pairs", *(_line(run, seconds) for run, seconds in found), sep="\n  ", flush=True)
            verbatim = statistics.fmean(run["eval"][-1]["taught"] for run, _ in found)
            after = statistics.fmean(run["eval"][-1]["accuracy"] for run, _ in found)
            seconds = statistics.median(seconds for _, seconds in found)
            print(f"  mean: verbatim {verbatim:.1%}, held out {before:.1%} → {after:.1%}, median {seconds:.1f} s")


def _finished(client: Any, config: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """(the last value of /run, seconds from the call to the end)."""
    began = time.perf_counter()
    run_id = client.predict(config=config, api_name="/finetune")["run_id"]
    while (run := client.predict(run_id=run_id, api_name="/run"))["status"] in ("queued", "running"):
        time.sleep(0.2)
    seconds = time.perf_counter() - began
    if run["status"] != "finished":
        raise AssertionError(run["error"])
    time.sleep(8)  # the next worker gets warm, as while a person types
    return run, seconds


def _line(run: dict[str, Any], seconds: float) -> str:
    last = run["eval"][-1]
    taught = "" if last.get("taught") is None else f"verbatim {last['taught']:.0%}, "
    return f"{taught}held out {last['accuracy']:.1%}, {seconds:.1f} s, load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
