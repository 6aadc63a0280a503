"""A measured figure, and the studio as a process that the benchmarks talk to from outside."""

from __future__ import annotations

import http.client
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
QUIET = {"HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table: what was measured, the value as text with its unit, and how."""

    what: str
    value: str
    how: str


def p95(seconds: Sequence[float]) -> float:
    """The smallest of the values that 95 % do not pass."""
    return sorted(seconds)[math.ceil(0.95 * len(seconds)) - 1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(script: Path, *arguments: str) -> Iterator[tuple[str, float]]:
    """Run a Gradio script on a free port in an empty directory: its address, and seconds from start to served page."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | QUIET | {"GRADIO_SERVER_PORT": str(port), "STUDIO_PORT": str(port)}
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            yield address, wait_for_page(address, process) - began
        finally:
            process.terminate()
            process.wait(timeout=20)


class Session:
    """One visitor's session over plain HTTP, as the page itself asks. `gradio_client` looks for its answer every 50 ms,
    so that no call through it takes less."""

    def __init__(self, address: str) -> None:
        self._host = address.removeprefix("http://")
        self._ids = {
            each["api_name"]: each["id"] for each in _get(f"{address}/config")["dependencies"] if each.get("api_name")
        }
        self._endpoints = _get(f"{address}/gradio_api/info")["named_endpoints"]
        self._session = uuid.uuid4().hex

    def call(self, name: str, **given: Any) -> Any:
        """The answer of an endpoint; what is not given has its default. Raises RuntimeError with what the studio said
        instead."""
        parameters = self._endpoints[f"/{name}"]["parameters"]
        data = [given.get(each["parameter_name"], each.get("parameter_default")) for each in parameters]
        connection = http.client.HTTPConnection(self._host, timeout=120)
        request = {"data": data, "fn_index": self._ids[name], "session_hash": self._session}
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/gradio_api/queue/join", json.dumps(request), headers)
        connection.getresponse().read()
        connection.request("GET", f"/gradio_api/queue/data?session_hash={self._session}")
        for line in connection.getresponse():
            message = json.loads(line.removeprefix(b"data: ")) if line.startswith(b"data: ") else {}
            if message.get("msg") == "process_completed":
                connection.close()
                if not message["success"]:
                    raise RuntimeError(str(message["output"]))
                return message["output"]["data"][0]
        raise RuntimeError("the stream ended without an answer")


def _get(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return json.load(answer)


def wait_for_page(address: str, process: subprocess.Popen[bytes]) -> float:
    deadline = time.perf_counter() + 120
    while time.perf_counter() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"ended with status {process.returncode} before it served a page")
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                answer.read()
                return time.perf_counter()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.02)
    raise TimeoutError(f"no page at {address} within 120 s")
