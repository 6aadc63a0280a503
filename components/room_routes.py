"""The room's own routes, beside Gradio's: small requests, and one stream of events for each page that follows.

Past Gradio's queue, so that a step of the presenter does not wait behind anybody's answer, and without a thread for
each page. The routes are handed to the application before Gradio adds its own, so that none of those can shadow them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, replace
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from components.context import Studio
from components.room_requests import Asked, logged_in
from components.widgets.rooms import invitation
from pipelines.errors import InputError
from pipelines.finetune import RunView
from pipelines.finetune.view import view
from pipelines.teaching.ballots import Poll
from pipelines.teaching.beats import beat_at
from pipelines.teaching.leaderboard import Result
from pipelines.teaching.places import Place
from pipelines.teaching.room import MAX_NAME, PRESENTER, Room, parsed
from pipelines.teaching.rooms import RoomGoneError

PATH = "/rooms"
HEARTBEAT = 5.0  # seconds; a page that hears nothing for three of them connects anew
CALM = 0.05  # seconds between two views that are sent to one page
LOOK = 2.0  # seconds between two looks at the runs of all rooms
FRESH = 120.0  # seconds since a run was started, within which a member's page says whose it is
_STREAM = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # the latter is nginx's

Json = dict[str, Any]
Action = Callable[[Asked], Awaitable[Json]]


def routes(studio: Studio) -> list[Route]:
    """All of them, for the application that serves the page."""
    desk, locked = Desk(studio), bool(studio.settings.auth)
    actions = {
        name: getattr(desk, name)
        for name in ("start", "join", "name", "leave", "vote", "ran", "move", "again", "unname", "end", "invite")
    }
    return [
        Route(f"{PATH}/follow", _answered(desk.follow, locked), methods=["POST"]),
        *(
            Route(f"{PATH}/{name}", _answered(_as_json(action), locked), methods=["POST"])
            for name, action in actions.items()
        ),
    ]


class Desk:
    """Where requests come in; the rooms decide."""

    def __init__(self, studio: Studio) -> None:
        self._studio, self._rooms = studio, studio.rooms
        self._keeper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # the event loop itself keeps none alive

    # The presenter

    async def start(self, asked: Asked) -> Json:
        room = self._rooms.start("problem", asked.visitor)
        room.move(asked.text("place", 40) or "problem", asked.text("page", 40), None)
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep())
        return {"code": room.code, "token": room.token}

    async def move(self, asked: Asked) -> Json:
        place, room = asked.text("place", 40), self._presented(asked)
        version = room.move(place, asked.text("page", 40), poll_of(place))
        if room.unsettled:
            task = asyncio.create_task(run_in_threadpool(self._settle, room, room.unsettled))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return {"version": version}

    async def again(self, asked: Asked) -> Json:
        room = self._presented(asked)
        room.ask_again(poll_of(room.place))
        return {}

    async def unname(self, asked: Asked) -> Json:
        self._presented(asked).unname(asked.number("member"))
        return {}

    async def end(self, asked: Asked) -> Json:
        self._rooms.end(self._presented(asked))
        return {}

    async def invite(self, asked: Asked) -> Json:
        """The address that opens the room, as a QR code too."""
        room = self._found(asked)
        return await run_in_threadpool(invitation, asked.text("address", 300), room.code, self._studio.settings.host)

    # Members

    async def join(self, asked: Asked) -> Json:
        room = self._found(asked)
        return {"code": room.code, "member": room.join(asked.visitor)}

    async def name(self, asked: Asked) -> Json:
        return {"name": self._found(asked).rename(asked.visitor, asked.text("name", 4 * MAX_NAME))}

    async def leave(self, asked: Asked) -> Json:
        self._found(asked).leave(asked.visitor)
        return {}

    async def vote(self, asked: Asked) -> Json:
        self._found(asked).vote(asked.visitor, asked.number("question"), asked.number("choice"))
        return {}

    async def ran(self, asked: Asked) -> Json:
        room, run_id = self._found(asked), asked.text("run", 80)
        run = await run_in_threadpool(self._studio.runs.view, run_id)
        if time.time() - run.created > FRESH:
            raise InputError("this run was started earlier", "Leaderboard", "Start one of your own.")
        room.ran(asked.visitor, run_id)
        return {}

    # Both

    async def follow(self, asked: Asked) -> Response:
        """Server-sent events: the whole view at once and after every change, comments in between, `over` at the end."""
        room = self._presented(asked) if asked.token else self._found(asked)
        who = PRESENTER if asked.token else asked.visitor
        room.view(who)  # a member who is none hears so as an answer, not as a stream that ends
        return StreamingResponse(_events(room, who), media_type="text/event-stream", headers=_STREAM)

    def _found(self, asked: Asked) -> Room:
        return self._rooms.find(asked.code, asked.visitor, asked.address)

    def _presented(self, asked: Asked) -> Room:
        return self._rooms.presented(asked.code, asked.token, asked.address)

    def _settle(self, room: Room, stage: str) -> None:
        """Wait for the demonstration of the stage, and tell the room which choice came true."""
        outcome = self._studio.preparing.ready(Place(stage, "demonstration")).outcome
        if outcome is not None:
            room.settle(stage, outcome)

    async def _keep(self) -> None:
        """While there are rooms: end those whose time is over, and look at the runs of their members."""
        while self._rooms.sweep():
            await run_in_threadpool(self._look)
            await asyncio.sleep(LOOK)

    def _look(self) -> None:
        """Read each run's directory; the service's own view would also count the queue before each of them."""
        for room in self._rooms.all():
            for run_id in room.unfinished():
                try:
                    result = result_of(view(self._studio.runs.directory(run_id)))
                except (InputError, OSError):
                    result = None  # deleted
                room.note(run_id, result)


async def _events(room: Room, who: str) -> AsyncIterator[str]:
    loop, news = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the studio ends, and its loop was closed
            loop.call_soon_threadsafe(news.set)

    sent = None
    try:
        with room.followed(who, wake):
            while True:
                news.clear()
                seen = room.view(who)
                if sent is None or replace(seen, version=sent.version) != sent:
                    yield f"id: {seen.version}\ndata: {json.dumps(asdict(seen))}\n\n"
                    sent = seen
                    await asyncio.sleep(CALM)
                try:
                    await asyncio.wait_for(news.wait(), HEARTBEAT)
                except TimeoutError:
                    yield ": still here\n\n"
    except InputError as error:
        yield f"event: over\ndata: {json.dumps({'error': room.over or str(error)})}\n\n"


def poll_of(place: str) -> Poll | None:
    """What the lesson asks its audience in the stage of that place; None in a tab."""
    stage, beat = parsed(place)
    asks = beat_at(Place(stage, "predict")) if beat else None
    return Poll(asks.say, asks.choices) if asks else None


def result_of(run: RunView) -> Result:
    """What the leaderboard needs of a run."""
    looks = [look for look in run.evals if look.accuracy is not None]
    config = run.config
    return Result(
        accuracy=looks[-1].accuracy if looks else None,
        rows=config.eval_rows,
        step=run.step,
        steps=run.steps,
        what="full" if config.method == "full" else f"{config.method} r={config.r}",
        ended=run.ended,
    )


def _as_json(action: Action) -> Callable[[Asked], Awaitable[Response]]:
    async def answer(asked: Asked) -> Response:
        return JSONResponse(await action(asked), headers={"Cache-Control": "no-store"})

    return answer


def _answered(
    handler: Callable[[Asked], Awaitable[Response]], locked: bool
) -> Callable[[Request], Awaitable[Response]]:
    """What a person got wrong is one sentence (`gone`: there is no use in asking again), and no fault that a browser
    would report; what no page of ours sends has status 400. `locked`: only who has logged in is answered."""

    async def answer(request: Request) -> Response:
        if locked and not logged_in(request):
            return JSONResponse({"error": "Room: this studio asks for a name and a password. Log in."}, status_code=401)
        try:
            asked = await Asked.of(request)
        except InputError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        try:
            return await handler(asked)
        except InputError as error:
            return JSONResponse({"error": str(error), "gone": isinstance(error, RoomGoneError)})

    return answer
