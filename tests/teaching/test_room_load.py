"""Sixty students in one studio, on the machine that runs the tests: they follow, predict, vote and come back.

Each is what a phone's page does on the wire: one stream of events, and a look at the server for what stands at the
place. Meanwhile the presenter's page streams answers. Figures are printed: `pytest --slow -s` shows them.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import statistics
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from gradio_client import Client

from tests.browser.conftest import end_studio, start_studio

pytestmark = pytest.mark.slow

STUDENTS = 60
REACHES_ALL = 1.0  # seconds, for 95 of 100 steps of students
WALK = [
    f"{stage}.{beat}"
    for stage in ("problem", "sft", "templates", "lora")
    for beat in ("analogy", "predict", "demonstration", "remember")
]
CHANGES_MIND, COMES_BACK = 0.3, 0.15  # shares of the students, at each question


@pytest.fixture(scope="module")
def studio_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, url = start_studio(tmp_path_factory.mktemp("class"))
    yield url
    end_studio(process)


class Phone:
    """A student's page: follows, and asks for what stands where the presenter is."""

    def __init__(self, http: httpx.AsyncClient, number: int, code: str, handler: int) -> None:
        self.http, self.code, self.handler = http, code, handler
        self.visitor = f"{number:032x}"
        self.view: dict[str, Any] = {}
        self.news = asyncio.Event()
        self.heard: dict[str, float] = {}
        self.shown: dict[str, float] = {}
        self.accepted: int | None = None
        self.broken = 0  # streams that ended by themselves
        self._tasks: set[asyncio.Task[None]] = set()
        self._stream: asyncio.Task[None] | None = None

    async def join(self) -> None:
        assert "error" not in await self.ask("join")
        self.connect()

    def connect(self) -> None:
        """Follow, with a new stream in place of the one before."""
        if self._stream:
            self._stream.cancel()
        self._stream = asyncio.create_task(self._follow())

    async def ask(self, action: str, **values: Any) -> dict[str, Any]:
        body = {"visitor": self.visitor, "code": self.code} | values
        return dict((await self.http.post(f"/rooms/{action}", json=body)).json())

    async def vote(self, choice: int) -> bool:
        """Whether it was counted."""
        said = await self.ask("vote", question=self.view["question"]["number"], choice=choice)
        if "error" not in said:
            self.accepted = choice
        return "error" not in said

    async def until(self, place: str) -> None:
        while self.view.get("place") != place:
            self.news.clear()
            await self.news.wait()

    async def leave(self) -> None:
        for task in [self._stream, *self._tasks]:
            if task:
                task.cancel()

    async def _follow(self) -> None:
        while True:
            try:
                await self._hear()
            except httpx.TransportError:
                self.broken += 1
                await asyncio.sleep(0.3)

    async def _hear(self) -> None:
        async for view in events(self.http, {"visitor": self.visitor, "code": self.code}):
            now = time.perf_counter()
            assert view["version"] >= self.view.get("version", 0)
            self.view = view
            if view["place"] not in self.heard:
                self.heard[view["place"]] = now
                if "." in view["place"]:
                    task = asyncio.create_task(self._look(view["place"]))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
            self.news.set()

    async def _look(self, place: str) -> None:
        """As lesson.js looks: again every two seconds while something is being measured there."""
        while self.view["place"] == place:
            body = {"fn_index": self.handler, "data": [place, "look", 0], "session_hash": "calculator"}
            answer = await self.http.post("/gradio_api/run/predict", json=body)
            self.shown.setdefault(place, time.perf_counter())
            if json.loads(answer.json()["data"][0])["done"]:
                return
            await asyncio.sleep(2.0)


async def events(http: httpx.AsyncClient, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    async with http.stream("POST", "/rooms/follow", json=body, timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream"), await answer.aread()
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


class Streaming:
    """The presenter's page, which asks the base for one long answer after the other."""

    def __init__(self, url: str) -> None:
        self._client, self._end = Client(url, verbose=False), threading.Event()
        self.gaps: list[float] = []
        self.answers = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Streaming:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.is_set():
            last = None
            asked = {"temperature": 1.5, "max_new_tokens": 400, "seed": self.answers, "api_name": "/complete"}
            for _ in self._client.submit(prompt="The", **asked):
                now = time.perf_counter()
                if last is not None:
                    self.gaps.append(now - last)
                last = now
            self.answers += 1


@asynccontextmanager
async def presenting(http: httpx.AsyncClient, code: str, token: str) -> AsyncIterator[dict[str, Any]]:
    """The presenter's stream; what it gives is filled with the newest view."""
    newest: dict[str, Any] = {}

    async def follow() -> None:
        async for view in events(http, {"visitor": "f" * 32, "code": code, "token": token}):
            newest.update(view)

    task = asyncio.create_task(follow())
    while not newest:
        await asyncio.sleep(0.01)
    yield newest
    task.cancel()


def lesson_handler(url: str) -> int:
    """The number of the handler that tells a page what stands at a place."""
    config = httpx.get(f"{url}/config", timeout=60).text
    found = re.search(r'studioBeat\.connect\(\{\\"ask\\": (\d+)', config)
    assert found
    return int(found[1])


async def a_lesson(url: str) -> dict[str, Any]:
    """Goes through WALK with the whole class; returns what was measured."""
    chance = random.Random(8)
    # A connection that the server closes in the moment of its next use is tried again by a browser, but not by httpx.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        presenter = "f" * 32
        room = (await http.post("/rooms/start", json={"visitor": presenter, "place": "problem", "page": "one"})).json()
        code, token = room["code"], room["token"]
        handler = lesson_handler(url)
        phones = [Phone(http, number, code, handler) for number in range(STUDENTS)]
        await asyncio.gather(*(phone.join() for phone in phones))
        heard: list[float] = []
        shown: list[float] = []
        late = 0

        async def go(place: str, page: str = "one") -> float:
            began = time.perf_counter()
            body = {"code": code, "visitor": presenter, "token": token, "place": place, "page": page}
            assert "error" not in (await http.post("/rooms/move", json=body)).json()
            await asyncio.wait_for(asyncio.gather(*(phone.until(place) for phone in phones)), 30)
            heard.extend(phone.heard[place] - began for phone in phones)
            return began

        async with presenting(http, code, token) as seen:
            for place in WALK:
                for phone in phones:
                    phone.accepted = phone.accepted if not place.endswith(".predict") else None
                began = await go(place)
                if place.endswith(".predict"):
                    await asyncio.gather(*(take_part(phone, chance) for phone in phones))
                    await asyncio.sleep(0.5)
                    assert seen["question"]["voted"] == sum(phone.accepted is not None for phone in phones)
                    assert seen["question"]["counts"] == []
                    # Some change their minds in the very moment of the reveal: counted if they were told so.
                    undecided = chance.sample(phones, STUDENTS // 3)
                    reveal = WALK[WALK.index(place) + 1]
                    votes = [phone.vote(chance.randrange(2)) for phone in undecided]
                    changed, _ = await asyncio.gather(asyncio.gather(*votes), go(reveal))
                    late += changed.count(False)
                await asyncio.sleep(0.7)
                if place.endswith(".demonstration"):
                    check(phones, seen)
                shown += [phone.shown[place] - began for phone in phones if place in phone.shown]
        # The presenter's page is loaded anew: the same token goes on.
        async with presenting(http, code, token) as seen:
            assert seen["place"] == WALK[-1] and seen["here"] == STUDENTS
            await go("qlora.analogy", page="two")
            # The presenter's page may hear it after the last of the class.
            for _ in range(100):
                if seen["place"] == "qlora.analogy":
                    break
                await asyncio.sleep(0.02)
            assert seen["place"] == "qlora.analogy" and seen["mover"] == "two"
        await http.post("/rooms/end", json={"code": code, "visitor": presenter, "token": token})
        await asyncio.gather(*(phone.leave() for phone in phones))
    return {"heard": heard, "shown": shown, "late": late, "broken": sum(phone.broken for phone in phones)}


async def take_part(phone: Phone, chance: random.Random) -> None:
    """Nearly everybody votes, some twice, and some lose their connection in between."""
    await asyncio.sleep(chance.random())
    choices = len(phone.view["question"]["choices"])
    if chance.random() < 0.95:
        assert await phone.vote(chance.randrange(choices))
    if chance.random() < COMES_BACK:
        phone.connect()
    if phone.accepted is not None and chance.random() < CHANGES_MIND:
        assert await phone.vote(chance.randrange(choices))


def check(phones: list[Phone], seen: dict[str, Any]) -> None:
    """The tally is that of the votes that were accepted, on the projector and on every phone."""
    cast = [phone.accepted for phone in phones if phone.accepted is not None]
    question = seen["question"]
    assert question["counts"] == [cast.count(choice) for choice in range(len(question["choices"]))]
    assert question["voted"] == len(cast)
    for phone in phones:
        assert phone.view["question"]["counts"] == question["counts"]
        assert phone.view["question"]["mine"] == phone.accepted


def test_a_class_of_sixty_follows_predicts_and_votes_while_the_presenter_streams(
    studio_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Client(studio_url, verbose=False).predict(prompt="The", api_name="/complete")  # the pair is loaded
    # In a thread of its own: after browser tests this one still has Playwright's event loop.
    with Streaming(studio_url) as streaming, ThreadPoolExecutor(1) as thread:
        measured = thread.submit(asyncio.run, a_lesson(studio_url)).result()
    heard, shown, gaps = measured["heard"], measured["shown"], streaming.gaps
    lines = [
        ("a step is heard by a phone", heard),
        ("what stands there is shown", shown),
        ("between two words of the presenter's answer", gaps),
    ]
    with capsys.disabled():
        print(f"\n{STUDENTS} students, {len(WALK) + 1} steps, {streaming.answers} answers streamed meanwhile:")
        for name, values in lines:
            cuts = statistics.quantiles(values, n=100)
            print(f"  {name:45} median {cuts[49]:.3f} s   p95 {cuts[94]:.3f} s   longest {max(values):.3f} s")
        print(
            f"  {measured['late']} votes came after the reveal and were told so; every other was counted once; "
            f"{measured['broken']} streams broke by themselves"
        )
    assert statistics.quantiles(heard, n=100)[94] <= REACHES_ALL
    assert streaming.answers > 0 and len(gaps) > 50
