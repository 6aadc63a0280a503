"""`transformers serve` over the embedded pair: a real OpenAI-compatible server, in a process of its own."""

from __future__ import annotations

import os
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
def transformers_serve(directory: Path, port: int) -> Iterator[str]:
    """The address of a server of the pair, without /v1. It lists `studio/pocket-base` and `studio/pocket-instruct`."""
    models = ASSETS / "models"
    cache = hub_cache(directory / "hub", models / "pocket-base", models / "pocket-instruct")
    log = directory / "serve.log"
    program = str(Path(sys.executable).parent / "transformers")
    with log.open("w") as output:
        process = subprocess.Popen(
            [program, "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"],
            env=os.environ | {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + SERVED_WITHIN
        while not _answers(f"{url}/health"):
            ended = process.poll() is not None
            assert not ended and time.monotonic() < deadline, f"transformers serve did not start:\n{log.read_text()}"
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
