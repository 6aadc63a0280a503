"""Calls every endpoint and every event of a real studio with hostile values, and reports what it should not have done.

    python -m tests.hostile.fuzz [--calls 20000] [--seed 0] [--minutes 20]

A failure is an HTTP status of 500 or more, an answer that does not end, an error without a sentence or with a stack
trace, and any exception on the studio's log that is not a message for a person. Quick calls are made more often: each
target's share is that of the inverse of the time it takes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.browser.conftest import end_studio, start_studio
from tests.hostile.calls import Target, body, targets
from tests.hostile.wire import messages, send

TOGETHER = 6  # callers at once
PATIENCE = 120.0  # seconds without an end until a call counts as hanging
WATCHES = 3.0  # seconds of something that tells how far it is; then the visitor leaves
LEFT = "left"
# A message for a person, wherever it was raised.
_MEANT = re.compile(r"^(gradio\.exceptions\.\w*Error|pipelines\.errors\.\w+|asyncio\.exceptions\.CancelledError)\b")
_RAISED = re.compile(r"^[\w.]+(Error|Exception|Warning|Interrupt|Exit|Cancelled)\b.*")


@dataclass(slots=True)
class Outcome:
    """What was called how often, and what went wrong: for each kind of failure the first call that showed it."""

    calls: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)

    def fail(self, what: str, target: Target, values: Any) -> None:
        self.failures.setdefault(f"{target.name.partition('#')[0]}: {what}", f"{target.name} {str(values)[:600]}")


class Caller:
    """One visitor: a session of its own."""

    def __init__(self, client: httpx.AsyncClient, seed: str, outcome: Outcome) -> None:
        self._client, self._outcome = client, outcome
        self._draw = random.Random(seed)
        self._session = self._fresh()

    async def call(self, target: Target) -> None:
        """One call, to its end."""
        values = [maker(self._draw) for maker in target.makers]
        asked = body(target, values, self._draw, self._session)
        self._outcome.calls[target.name] += 1
        try:
            async with asyncio.timeout(PATIENCE):
                reply = await send(self._client, target, asked)
                told = reply.text
                if target.queued and reply.status_code == 200:
                    told = await self._followed(reply.json()["event_id"])
        except TimeoutError:
            self._outcome.fail(f"no end within {PATIENCE:.0f} s", target, values)
            self._session = self._fresh()
            return
        except httpx.HTTPError as error:
            self._outcome.fail(f"the connection broke ({type(error).__name__})", target, values)
            return
        self._judge(target, values, reply.status_code, told)

    async def _followed(self, event: str) -> str:
        """How the event ended; LEFT when it was still telling after a while, and this visitor closed the page."""
        begin = time.monotonic()
        async with contextlib.aclosing(messages(self._client, self._session)) as told:
            async for message in told:
                if message["msg"] == "unexpected_error":
                    return json.dumps(message)
                if message.get("event_id") != event:
                    continue
                if message["msg"] == "process_completed":
                    return json.dumps(message)
                if message["msg"] == "process_generating" and time.monotonic() - begin > WATCHES:
                    break
            else:
                return ""
        self._session = self._fresh()
        return LEFT

    def _fresh(self) -> str:
        return f"{self._draw.getrandbits(64):x}"

    def _judge(self, target: Target, values: Any, status: int, told: str) -> None:
        outcome = self._outcome
        outcome.answers[str(status)] += 1
        if "Traceback (most recent call last)" in told:
            outcome.fail("a stack trace is shown", target, values)
        # Calls past the queue have no other way to tell of an error than this status.
        if status >= 500 and (target.queued or not _error_of(told)):
            outcome.fail(f"HTTP {status}", target, values)
        if told == LEFT:
            outcome.answers["left while it went on"] += 1
        elif status == 200 and target.queued:
            if not told:
                outcome.fail("the stream ended without an answer", target, values)
                return
            said = json.loads(told)
            if not said.get("success", False):
                error = (said.get("output") or {}).get("error")
                outcome.answers["error" if error else "error without a text"] += 1
                if not error or error in ("Error", "None") or len(str(error)) > 4_000:
                    outcome.fail(f"an error that says nothing: {error!r:.80}", target, values)


def _error_of(told: str) -> str:
    try:
        return str(json.loads(told).get("error") or "")
    except (ValueError, AttributeError):
        return ""


async def fuzz(url: str, calls: int, seed: int, seconds: float) -> Outcome:
    """At most so many calls, for so many seconds."""
    outcome = Outcome()
    limits = httpx.Limits(max_connections=4 * TOGETHER)
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, limits=limits) as client:
        info = (await client.get("/gradio_api/info")).json()
        page = (await client.get("/config")).json()
        known = targets(info, page)
        took = dict.fromkeys((target.name for target in known), 0.05)  # seconds, a running mean
        ends = time.monotonic() + seconds
        left = iter(range(calls))

        async def work(number: int) -> None:
            caller = Caller(client, f"{seed}/{number}", outcome)
            draw = random.Random(f"{seed}/{number}/which")
            for _ in left:
                if time.monotonic() > ends:
                    return
                target = draw.choices(known, [1 / took[target.name] for target in known])[0]
                begin = time.monotonic()
                await caller.call(target)
                took[target.name] += 0.3 * (time.monotonic() - begin - took[target.name])

        await asyncio.gather(*(work(number) for number in range(TOGETHER)))
    return outcome


def unmeant(log: str) -> Counter[str]:
    """Faults that the studio noted, and exceptions on its log that are no messages for a person."""
    found: Counter[str] = Counter()
    for line in log.splitlines():
        if line.startswith("{") and '"event": "fault"' in line:
            fault = json.loads(line)
            found[f"{fault['kind']} in {fault['doing']} ({' '.join(fault['way'][-2:])}, {fault['within']})"] += 1
    for part in log.split("Traceback (most recent call last):")[1:]:
        raised = next((line for line in part.splitlines() if _RAISED.match(line)), "no exception named")
        if not _MEANT.match(raised):
            places = re.findall(r'File "([^"]+)", line (\d+)', part)
            ours = [f"{Path(path).name}:{line}" for path, line in places if "site-packages" not in path]
            found[f"{raised[:160]} ({ours[-1] if ours else 'in a library'})"] += 1
    return found


def attack(calls: int, seed: int, seconds: float) -> tuple[Outcome, Counter[str]]:
    """Start a studio, call it, end it."""
    with tempfile.TemporaryDirectory() as directory:
        process, url = start_studio(Path(directory))
        try:
            outcome = asyncio.run(fuzz(url, calls, seed, seconds))
            alive = httpx.get(f"{url}/healthz", timeout=30).status_code == 200
        finally:
            status = end_studio(process)
        if not alive or status != 0:
            outcome.failures["the studio"] = f"alive {alive}, ended with status {status}"
        return outcome, unmeant((Path(directory) / "studio.log").read_text(encoding="utf-8", errors="replace"))


def main() -> int:
    """Attack and print; the exit status is 1 when something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0)
    chosen = parser.parse_args()
    begin = time.monotonic()
    outcome, raised = attack(chosen.calls, chosen.seed, 60 * chosen.minutes)
    print(f"{outcome.calls.total():,} calls of {len(outcome.calls)} targets in {time.monotonic() - begin:.0f} s")
    print("answers:", dict(outcome.answers))
    print("calls of a target: least", outcome.calls.most_common()[-1], "most", outcome.calls.most_common(1)[0])
    for what, call in outcome.failures.items():
        print(f"FAILED {what}\n    {call}")
    for what, times in raised.most_common():
        print(f"RAISED {times} x {what}")
    return 1 if outcome.failures or raised else 0


if __name__ == "__main__":
    sys.exit(main())
