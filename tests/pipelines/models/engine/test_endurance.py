"""The engine for long: hundreds of mixes against lone runs, and minutes of people who come, go and vanish."""

from __future__ import annotations

import gc
import os
import random
import threading
import time

import pytest

from pipelines.decoding import stream
from pipelines.models import ModelManager
from pipelines.models.engine import Request
from pipelines.settings import Settings

pytestmark = pytest.mark.slow
NONE: frozenset[int] = frozenset()
MIXES = 500
NAMES = ["base", "instruct", "pocket-coder", "pocket-doctor", "pocket-poet", "pocket-shop-assistant"]
SECONDS = float(os.environ.get("STUDIO_ENDURANCE_SECONDS", "60"))  # ten minutes for a release


@pytest.fixture
def pocket():
    return ModelManager(Settings(device="cpu"))


@pytest.mark.timeout(1800)
def test_five_hundred_mixes_of_requests_and_adapters_write_what_lone_runs_write(pocket):
    """Greedy, on the pair and its personalities; the lone run is transformers' forward pass, one token at a time."""
    choose = random.Random(2026)
    known: dict[tuple, list[int]] = {}
    held = {name: pocket.lease(name) for name in NAMES}
    leases = {name: lease.__enter__() for name, lease in held.items()}
    prompts = [tuple(choose.randrange(10, 4000) for _ in range(choose.randint(1, 40))) for _ in range(12)]
    compared = 0
    for _ in range(MIXES):
        asked = [
            (choose.choice(NAMES), choose.choice(prompts), choose.randint(1, 20)) for _ in range(choose.randint(2, 8))
        ]
        tickets = pocket.engine.submit([(leases[name], Request(ids, NONE, count)) for name, ids, count in asked])
        for ticket, (name, ids, count) in zip(tickets, asked, strict=True):
            wrote = []
            while not ticket.done:
                wrote += [token.id for token in ticket.take(1.0)]
            if (name, ids) not in known:
                known[name, ids] = [token for token, _ in stream(leases[name], ids, 20, stops=NONE)]
            assert wrote == known[name, ids][:count], (name, ids)
            compared += 1
    for lease in held.values():
        lease.__exit__(None, None, None)
    assert compared > 2 * MIXES


@pytest.mark.timeout(900)
def test_memory_and_leases_are_flat_while_people_come_go_and_vanish(pocket):
    def resident() -> int:
        gc.collect()
        with open("/proc/self/status", encoding="utf-8") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024

    faults: list[BaseException] = []
    ended = time.monotonic() + SECONDS

    def person(seed: int) -> None:
        choose = random.Random(seed)
        try:
            while time.monotonic() < ended:
                with pocket.lease(choose.choice(NAMES)) as lease:
                    ids = [choose.randrange(10, 4000) for _ in range(choose.randint(1, 200))]
                    ticket = lease.ask(Request(ids, NONE, choose.randint(1, 200), choose.choice([0, 0.8]), seed, 10))
                    try:
                        for _ in range(choose.randint(0, 20)):
                            ticket.take(0.05)
                    finally:
                        ticket.close()
        except BaseException as error:
            faults.append(error)

    people = [threading.Thread(target=person, args=(seed,)) for seed in range(20)]
    for thread in people:
        thread.start()
    time.sleep(SECONDS / 3)
    warm = resident()
    for thread in people:
        thread.join()
    assert faults == []
    assert pocket.engine.load == (0, 0) and pocket._shelf.cached == 0
    assert all(model.leases == 0 for model in pocket._shelf._residents.values())
    assert resident() < warm + 64, f"{warm} MiB became {resident()}"
