"""Two visitors of a public studio: everything the second can ask for tells nothing of what the first has there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file

from tests.browser.conftest import end_studio, start_studio
from tests.hostile.calls import Target, body, targets
from tests.hostile.wire import messages, send

pytestmark = pytest.mark.slow

SECRET = "xylophone-7731"
SESSION = "secondvisitor"


@contextmanager
def studio(directory: Path, *arguments: str) -> Iterator[str]:
    process, url = start_studio(directory, *arguments)
    try:
        yield url
    finally:
        assert end_studio(process) == 0


def leave_something(url: str, directory: Path) -> list[str]:
    """What the first visitor does; returns what nobody else may see: the secret, the run, the data set, the session."""
    first = Client(url, verbose=False)
    file = directory / f"{SECRET}.jsonl"
    file.write_text(json.dumps({"instruction": f"Where is the {SECRET}?", "response": f"Under the {SECRET}."}) + "\n")
    data = first.predict(file=handle_file(str(file)), api_name="/dataset")
    asked = [{"role": "user", "content": f"Tell me of {SECRET}."}]
    first.predict(messages=asked, max_new_tokens=4, api_name="/chat")
    pairs = [{"instruction": f"What is {SECRET}?", "response": f"{SECRET} is a secret."}]
    run = first.predict(config={"pairs": pairs, "max_steps": 2, "eval_rows": 4}, api_name="/finetune")["run_id"]
    deadline = time.monotonic() + 200
    while (state := first.predict(run_id=run, api_name="/run"))["status"] in ("queued", "running"):
        assert time.monotonic() < deadline, state
        time.sleep(0.5)
    assert state["status"] == "finished" and SECRET in str(state["samples"])
    return [SECRET, run, run[:6], data["key"], first.session_hash]


async def everything(url: str, runs: Path, until: str = "") -> tuple[str, int]:
    """All that the second visitor is told, and how many requests that took: each route, each endpoint and each event of
    the page, as the page sends it and with values that are tried. `until`: enough once this was told."""
    draw = random.Random(5)
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        page, info = (await client.get("/config")).json(), (await client.get("/gradio_api/info")).json()
        told = [json.dumps(page), json.dumps(info)]
        routes = [
            "/",
            "/healthz",
            "/gradio_api/startup-events",
            "/monitoring",
            "/gradio_api/openapi.json",
            "/gradio_api/app_id",
        ]
        routes += [f"/gradio_api/file={path}" for path in _files(runs)]
        routes += [f"/gradio_api/queue/data?session_hash={session}" for session in ("", "a", "null")]
        for route in routes:
            answer = await _read(client, route)
            told.append(answer.replace(route.partition("=")[2], ""))  # what was asked for is no news
        components = {component["id"]: component["props"].get("value") for component in page["components"]}
        inputs = {event["id"]: event["inputs"] for event in page["dependencies"]}
        for target in targets(info, page):
            sent: list[list[Any]] = [[components.get(number) for number in inputs[target.number]]]
            if not target.name.startswith("prove"):  # an experiment says the same to everybody
                sent.append([maker(draw) for maker in target.makers])
            for values in sent:
                told.append(await _ask(client, target, values, draw))
                if until and until in told[-1]:
                    return told[-1], len(told)
        for action in ("join", "follow", "vote", "ran", "name", "leave", "move", "invite", "end"):
            reply = await client.post(f"/rooms/{action}", json={"code": "AAAA", "visitor": "0" * 32, "run": ""})
            told.append(reply.text)
    return "\n".join(told), len(told)


def asked(url: str, runs: Path, until: str = "") -> tuple[str, int]:
    """The same, from a thread of its own: after browser tests this one still has Playwright's event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, everything(url, runs, until)).result()


def _files(runs: Path) -> list[str]:
    """Paths that somebody would try, those of the first visitor's run among them."""
    inside = [str(path) for path in runs.rglob("*") if path.is_file()][:60]
    return [*inside, str(runs), str(runs.parent / "studio.log"), "/tmp", "/tmp/gradio", "runs", "/etc/passwd"]


async def _read(client: httpx.AsyncClient, route: str) -> str:
    text = ""
    try:
        async with asyncio.timeout(5), client.stream("GET", route) as reply:
            async for part in reply.aiter_text():
                text += part
    except (TimeoutError, httpx.HTTPError):
        pass  # a stream that waits for events, or is closed, has told what it tells
    return text


async def _ask(client: httpx.AsyncClient, target: Target, values: list[Any], draw: random.Random) -> str:
    reply = await send(client, target, body(target, values, draw, SESSION))
    if not target.queued or reply.status_code != 200:
        return reply.text
    event, text = reply.json()["event_id"], ""
    try:
        # Experiments go on for a minute; what they say at first is what they would say.
        async with asyncio.timeout(2), contextlib.aclosing(messages(client, SESSION)) as told:
            async for message in told:
                text += json.dumps(message)
                if message.get("event_id") == event and message["msg"] == "process_completed":
                    break
    except TimeoutError:
        left = {"session_hash": SESSION, "event_id": event, "fn_index": target.number}
        await client.post("/gradio_api/cancel", json=left)
    return text


def test_nothing_of_the_first_visitor_reaches_the_second(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with studio(tmp_path, "--public") as url:
        hidden = leave_something(url, tmp_path)
        told, requests = asked(url, tmp_path / "runs")
    reached = [secret for secret in hidden if secret in told]
    with capsys.disabled():
        print(f"\n{requests} requests, {len(told):,} characters of answers, reached: {reached or 'nothing'}")
    assert not reached


def test_the_same_questions_find_a_run_where_runs_are_for_everybody(tmp_path: Path) -> None:
    """So that the test above would fail if there were something to find."""
    with studio(tmp_path) as url:
        _, run, *_ = leave_something(url, tmp_path)
        told, _ = asked(url, tmp_path / "runs", until=run)
    assert run in told
