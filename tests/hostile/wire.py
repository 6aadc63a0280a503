"""Gradio's protocol without its client, so that what is sent is ours to the byte."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx

from tests.hostile.calls import Target


async def send(client: httpx.AsyncClient, target: Target, asked: bytes) -> httpx.Response:
    """Ask: by way of the queue, whose answers come over `messages`, or past it, where the reply is the answer."""
    path = "/gradio_api/queue/join" if target.queued else "/gradio_api/run/predict"
    return await client.post(path, content=asked, headers={"Content-Type": "application/json"})


async def messages(client: httpx.AsyncClient, session: str) -> AsyncIterator[dict[str, Any]]:
    """What the queue tells that session, as it comes."""
    async with client.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data:"):
                yield json.loads(line[5:])
