"""`/healthz`: how the studio is, for a load balancer or whoever watches over it. No visitor's texts, names or ids."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from components.context import Studio


def routes(studio: Studio) -> list[Route]:
    """The route, for the application that serves the page."""

    async def healthz(request: Request) -> JSONResponse:
        return JSONResponse(await run_in_threadpool(health, studio), headers={"Cache-Control": "no-store"})

    return [Route("/healthz", healthz, methods=["GET"])]


def health(studio: Studio) -> dict[str, Any]:
    """JSON: status (`ok`, `loading` while models are read, `trouble` when an endpoint cannot be asked), and the load.

    Bytes for memory; counts for everything else.
    """
    gauge = studio.manager.gauge()
    waiting, training = studio.runs.load()
    status = "trouble" if gauge.trouble else "loading" if gauge.loading else "ok"
    return {
        "status": status,
        "device": gauge.device,
        # The id of a run is what gives access to it, so that runs are only counted.
        "models": {row.key: row.bytes for row in studio.manager.models() if row.resident and ":" not in row.key},
        "loading": {key: round(fraction, 2) for key, (fraction, _) in gauge.loading.items()},
        "memory": {"used": gauge.used, "budget": gauge.budget, "caches": gauge.caches},
        "answers": {"writing": gauge.answering, "waiting": gauge.waiting},
        "runs": {"waiting": waiting, "training": training},
        "rooms": len(studio.rooms.all()),
    }
