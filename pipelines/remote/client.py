"""HTTP to one server, and what a person can do about each way in which it fails.

All requests of a studio run in one event loop, on a thread of its own: a hundred answers take one thread, and one that
is given up closes its connection at once, which is how such servers learn that nobody reads on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipelines.errors import InputError
from pipelines.remote.events import Events
from pipelines.untrusted_json import read_json

if TYPE_CHECKING:
    import httpx

KEY = "STUDIO_ENDPOINT_KEY"
WHERE = "endpoint"
CONNECT = 5.0  # seconds until a server that does not even accept is given up
SILENCE = 120.0  # seconds without a byte: one that loads a model first needs some
MAX_BODY = 16 * 2**20
_LOG = "What it logs says more."


class Refused(InputError):
    """The server answered that it will not. `status`: of HTTP."""

    def __init__(self, status: int, what: str, where: str = "", advice: str = "") -> None:
        super().__init__(what, where, advice)
        self.status = status


class Client:
    """One server. `url` with or without the final /v1; `key` for servers that ask for one; `silence` in seconds."""

    def __init__(self, url: str, key: str = "", silence: float = SILENCE) -> None:
        parts = urlsplit(url)
        self.base = url if parts.path.rstrip("/").endswith("/v1") else f"{url.rstrip('/')}/v1"
        # Without a name and a password that may stand before the host.
        self.shown = parts.netloc.rpartition("@")[2]
        self._key, self.silence = key, silence
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._http: httpx.AsyncClient | None = None

    def start(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run in the loop; cancelling what is returned closes the connections of `work`."""
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="endpoint", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def get(self, path: str) -> Any:
        """The JSON of a GET. Raises InputError, `Refused` for an HTTP error."""
        with self._said():
            async with self._open().stream("GET", f"{self.base}/{path}") as response:
                return _json(await self._body(response))

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON of a POST. Raises as `get`."""
        with self._said():
            async with self._open().stream("POST", f"{self.base}/{path}", json=body) as response:
                return _json(await self._body(response))

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncGenerator[Any, None]:
        """The JSON of each event of a POST, up to `[DONE]` or the end. Raises as `get`, also half way.

        A server that does not stream answers with one value.
        """
        with self._said():
            async with self._open().stream("POST", f"{self.base}/{path}", json=body) as response:
                if response.is_error or "json" in response.headers.get("content-type", ""):
                    yield _json(await self._body(response))
                    return
                events = Events()
                async for piece in response.aiter_bytes():
                    for data in events.feed(piece):
                        if data.strip() == "[DONE]":
                            return
                        yield _json(data)
                for data in events.rest():
                    if data.strip() != "[DONE]":
                        yield _json(data)

    def _open(self) -> httpx.AsyncClient:
        """In the loop only. httpx takes a tenth of a second to import."""
        import httpx

        if self._http is None:
            headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
            self._http = httpx.AsyncClient(
                headers=headers,
                timeout=httpx.Timeout(self.silence, connect=CONNECT, pool=None),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
                follow_redirects=True,
            )
        return self._http

    async def _body(self, response: httpx.Response) -> bytes:
        """The whole body. Raises `Refused` for an HTTP error, with what the server says about it."""
        body = b""
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > MAX_BODY:
                raise InputError(f"the server at {self.shown} sends an answer without end", WHERE, _LOG)
        if response.is_error:
            raise self._refused(response.status_code, body)
        return body

    def _refused(self, status: int, body: bytes) -> Refused:
        said = reason(body)
        told = f": {said}" if said else ""
        if status in (401, 403):
            advice = f"Start the studio with {KEY} set to a key that the server takes."
            return Refused(status, f"the server at {self.shown} wants to know who asks ({status}{told})", WHERE, advice)
        if status == 404:
            advice = "Check --endpoint: it ends in /v1 for most servers. And that the server lists the model."
            return Refused(status, f"the server at {self.shown} has no such place or model (404{told})", WHERE, advice)
        if status == 429 or status == 503:
            return Refused(status, f"the server at {self.shown} is busy ({status}{told})", WHERE, "Ask again later.")
        advice = _LOG if status >= 500 else ""
        return Refused(status, f"the server at {self.shown} refuses ({status}{told})", "model", advice)

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        """What the network raises, as a sentence."""
        import httpx

        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise InputError(
                f"no server answers at {self.shown}", WHERE, "Start it, or ask again when it runs."
            ) from error
        except httpx.TimeoutException as error:
            what = f"the server at {self.shown} has sent nothing for {self.silence:.0f} s"
            raise InputError(what, WHERE, f"Ask again later. {_LOG}") from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            what = f"the connection to the server at {self.shown} broke off"
            raise InputError(what, WHERE, f"Ask again. {_LOG}") from error


def _json(text: str | bytes) -> Any:
    try:
        return read_json(text)
    except ValueError as error:
        raise InputError(
            "the server sent something that is no JSON", WHERE, f"Is it OpenAI-compatible? {_LOG}"
        ) from error


def reason(body: bytes | str | Any) -> str:
    """What a server says about its refusal, whichever field it uses for that; without a final full stop."""
    if isinstance(body, bytes | str):
        try:
            body = read_json(body)
        except ValueError:
            text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
            return "" if "<" in text else _short(text)
    while isinstance(body, dict):
        body = next((body[key] for key in ("error", "message", "detail", "error_message") if body.get(key)), "")
    return _short(body if isinstance(body, str) else json.dumps(body)) if body else ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return (line if len(line) <= 300 else f"{line[:299]}…").rstrip(".")
