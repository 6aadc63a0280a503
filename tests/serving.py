"""Two real OpenAI-compatible servers of the embedded pair, each in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.stages import ASSETS

SERVED_WITHIN = 240.0  # seconds; a machine that does other work at the same time is slow
_COMMIT = "0" * 40


def hub_cache(cache: Path, *folders: Path) -> Path:
    """Folders as a Hub cache has them, under `studio/<name>`: the server lists what is there."""
    for folder in folders:
        repository = cache / f"models--studio--{folder.name}"
        snapshot = repository / "snapshots" / _COMMIT
        snapshot.mkdir(parents=True)
        for file in folder.iterdir():
            (snapshot / file.name).symlink_to(file)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(_COMMIT)
    return cache


@contextmanager
def transformers_serve(directory: Path) -> Iterator[str]:
    """The address of `transformers serve`, without /v1. It lists `studio/pocket-base` and `studio/pocket-instruct`."""
    models, port = ASSETS / "models", free_port()
    cache = hub_cache(directory / "hub", models / "pocket-base", models / "pocket-instruct")
    program = str(Path(sys.executable).parent / "transformers")
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    with _process([program, "serve", *options], directory, port, {"HF_HUB_CACHE": str(cache)}) as url:
        yield url


@contextmanager
def llama_cpp(directory: Path) -> Iterator[str]:
    """The address of llama.cpp's server, without /v1. It lists the same names."""
    port = free_port()
    with _process([sys.executable, "-m", "tests.llama_server", str(port)], directory, port, {}) as url:
        yield url


SERVERS = {"transformers serve": transformers_serve, "llama.cpp": llama_cpp}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _process(command: list[str], directory: Path, port: int, environment: dict[str, str]) -> Iterator[str]:
    log = directory / "serve.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=ASSETS.parent,
            env=os.environ | {"HF_HUB_OFFLINE": "1"} | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + SERVED_WITHIN
        while not _answers(f"{url}/v1/models"):
            going = process.poll() is None and time.monotonic() < deadline
            assert going, f"{' '.join(command)} did not start:\n{log.read_text()}"
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False
