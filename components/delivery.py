"""How the page and its files travel to a browser: from memory, packed once, and kept there.

Gradio reads and packs each of its eighty files anew for everybody who opens the page, 2 to 20 ms each of the processor
that serves all, does not let browsers keep them, and sends the page itself, a megabyte of text, as it is. Thirty people
who open one link in the same minute wait for one another, and for the room's network.
"""

from __future__ import annotations

import gzip
import mimetypes
from functools import lru_cache
from pathlib import Path

import gradio
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_FRONTEND = Path(gradio.__file__).parent / "templates" / "frontend" / "assets"
_FOREVER = "public, max-age=31536000, immutable"  # a file's name has the hash of its content in it
_PACKED = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json"}
_PAGES = 4  # that differ: by the address the studio is reached under, and by who logged in


def routes() -> list[Route]:
    """Gradio's frontend, for the application that serves the page."""
    return [Route("/assets/{name}", _Files(_FRONTEND).send, methods=["GET"])]


class _Files:
    """The files of one folder, each read and packed when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._paths = {path.name: path for path in folder.iterdir() if path.is_file()}
        self._kept: dict[str, tuple[bytes, bytes]] = {}

    async def send(self, request: Request) -> Response:
        """The file of the name that was asked for, and of no other; 404 when the folder has none."""
        name = request.path_params["name"]
        if name not in self._paths:
            return PlainTextResponse("There is no such file.", status_code=404)
        if name not in self._kept:
            self._kept[name] = await run_in_threadpool(_read, self._paths[name])
        plain, packed = self._kept[name]
        headers = {"Cache-Control": _FOREVER, "Vary": "Accept-Encoding"}
        if packed and _takes_gzip(request.headers):
            return Response(packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=_type_of(name))
        return Response(plain, headers=headers, media_type=_type_of(name))


class PackedPage:
    """Sends the page itself packed to browsers that can unpack it; whatever else passes as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        asked = scope["type"] == "http" and scope["method"] == "GET" and scope["path"].endswith("/")
        if not asked or not _takes_gzip(Headers(scope=scope)):
            return await self._app(scope, receive, send)
        begun: list[Message] = []

        async def packed(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_page(message):
                begun.append(message)
                return
            if begun:
                start = begun.pop()
                if not message.get("more_body"):
                    message = {**message, "body": _pack(message.get("body", b""))}
                    headers = MutableHeaders(raw=start["headers"])
                    headers["Content-Encoding"] = "gzip"
                    headers["Content-Length"] = str(len(message["body"]))
                    headers.add_vary_header("Accept-Encoding")
                await send(start)
            await send(message)

        await self._app(scope, receive, packed)


def _is_page(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    return headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers


def _takes_gzip(headers: Headers) -> bool:
    return "gzip" in headers.get("accept-encoding", "")


def _type_of(name: str) -> str:
    return _PACKED.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _read(path: Path) -> tuple[bytes, bytes]:
    """A file, and the same packed, which is empty where packing gains nothing."""
    plain = path.read_bytes()
    packed = gzip.compress(plain, 6) if path.suffix in _PACKED else b""
    return plain, packed if len(packed) < len(plain) else b""


@lru_cache(maxsize=_PAGES)
def _pack(body: bytes) -> bytes:
    return gzip.compress(body, 6)
