"""A small HTTP server in this process that answers as it is told: well, badly, or not to the end."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pipelines.answering import Writing


@dataclass(frozen=True, slots=True)
class Reply:
    """`pieces` are written one by one, `pause` seconds apart; `cut`: the connection then breaks off."""

    pieces: tuple[bytes, ...]
    status: int = 200
    kind: str = "text/event-stream"
    pause: float = 0.0
    cut: bool = False


def as_json(value: Any, status: int = 200) -> Reply:
    return Reply((json.dumps(value).encode(),), status, "application/json")


def as_events(*values: Any, pause: float = 0.0, done: bool = True) -> Reply:
    """Each value as an event, then `[DONE]`."""
    pieces = [f"data: {json.dumps(value)}\n\n".encode() for value in values]
    return Reply((*pieces, b"data: [DONE]\n\n") if done else tuple(pieces), pause=pause)


def written(text: str, finish: str | None = None, likely: dict[str, float] | None = None) -> dict[str, Any]:
    """An event of vLLM's /v1/completions; `likely`: log-probabilities, the first being of what is written."""
    noted = None
    if likely:
        token = next(iter(likely))
        noted = {"tokens": [token], "token_logprobs": [likely[token]], "top_logprobs": [likely], "text_offset": [0]}
    choice = {"index": 0, "text": text, "logprobs": noted, "finish_reason": finish}
    return {"id": "cmpl-1", "object": "text_completion", "model": "m", "choices": [choice]}


def said(text: str, finish: str | None = None, likely: dict[str, float] | None = None) -> dict[str, Any]:
    """An event of /v1/chat/completions."""
    noted = None
    if likely:
        entries = [{"token": token, "logprob": value, "bytes": list(token.encode())} for token, value in likely.items()]
        noted = {"content": [{**entries[0], "top_logprobs": entries}]}
    choice = {"index": 0, "delta": {"content": text}, "logprobs": noted, "finish_reason": finish}
    return {"id": "chat-1", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}


MODELS = {"object": "list", "data": [{"id": "org/tiny-base"}, {"id": "org/tiny-instruct"}]}


@dataclass(slots=True)
class FakeServer:
    """What it answers to each path, what it was asked, and how many readers left before the end."""

    url: str
    answers: dict[str, Callable[[dict[str, Any]], Reply]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str, reply: Reply | Callable[[dict[str, Any]], Reply]) -> None:
        self.answers[f"/v1/{path}"] = reply if callable(reply) else lambda _: reply

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [body for asked, body in self.asked if asked == f"/v1/{path}"]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer("")
    fake.answer("models", as_json(MODELS))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, body: dict[str, Any]) -> None:
            fake.asked.append((self.path, body))
            fake.keys.append(self.headers.get("Authorization", ""))
            made = fake.answers.get(self.path)
            reply = made(body) if made else as_json({"error": {"message": "no such path."}}, 404)
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.kind)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                for piece in reply.pieces:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    time.sleep(reply.pause)
                if not reply.cut:
                    self.wfile.write(b"0\r\n\r\n")
            except OSError:
                fake.left.set()
            self.close_connection = reply.cut or self.close_connection
            if reply.cut:
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    fake.url = f"http://127.0.0.1:{http.server_port}"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield fake
    http.shutdown()
    http.server_close()


def read_all(answer: Writing) -> Any:
    """Its last value."""
    while not answer.done:
        answer.take(0.05)
    return answer.ended()
