"""A studio in a process of its own, and a Chromium that reports every request that leaves the machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.serving import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SERVED_WITHIN = 240.0  # seconds; a machine that does other work at the same time is slow
# Gradio's client says so of its event stream when the page is left or read anew.
LEAVING = ("AbortError: signal is aborted without reason", "Connection errored out.")

expect.set_options(timeout=30_000)  # milliseconds


@dataclass(slots=True)
class Witness:
    """What a page did that it must not do."""

    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("request", lambda request: self._request(request.url))
        page.on("console", lambda message: message.type == "error" and self._error(message.text))
        page.on("pageerror", lambda error: self._error(str(error)))

    def _error(self, text: str) -> None:
        if not any(known in text for known in LEAVING):
            self.errors.append(text)

    def _request(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")):
            self.outside.append(url)


@dataclass(frozen=True, slots=True)
class Answering:
    """What whoever answers can give: this machine everything; a server no weights, and not each one probabilities."""

    probabilities: bool = True
    weights: bool = True


def start_studio(directory: Path, *arguments: str, **variables: str) -> tuple[subprocess.Popen[str], str]:
    """`python studio.py` in `directory`, which is not the repository's; returns it with its address.

    `variables`: of its environment, besides those of this process. What it prints goes to `studio.log` in `directory`:
    into a pipe that nobody reads it could not print for long.
    """
    port = free_port()
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"} | variables
    log = directory / "studio.log"
    with log.open("w") as printed:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "studio.py"), "--port", str(port), *arguments],
            cwd=directory,
            env=environment,
            stdout=printed,
            stderr=subprocess.STDOUT,
            text=True,
        )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + SERVED_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return process, url
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    process.kill()
    process.wait()
    raise AssertionError(f"the studio did not serve its page:\n{log.read_text(errors='replace')}")


def end_studio(process: subprocess.Popen[str]) -> int:
    """Ask it to end, as a service manager would; returns its exit status."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError("the studio did not end within 60 seconds of SIGTERM") from None


@pytest.fixture(scope="session")
def studio_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one studio that all browser tests share."""
    process, url = start_studio(tmp_path_factory.mktemp("somewhere-else"))
    yield url
    assert end_studio(process) == 0


@pytest.fixture
def answering() -> Answering:
    """Of the studio of `studio_url`."""
    return Answering()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no {CHROMIUM}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser, studio_url: str) -> Iterator[Callable[..., Page]]:
    """Opens the studio in a browser of its own: `open_page(path="", width=1280, height=720, scheme="light",
    locale="en-US")`.

    After the test, no request may have left the machine and nothing may have been an error on the console.
    """
    witness = Witness()
    contexts = []

    def open_it(
        path: str = "", *, width: int = 1280, height: int = 720, scheme: str = "light", locale: str = "en-US"
    ) -> Page:
        size = {"width": width, "height": height}
        context = chromium.new_context(viewport=size, color_scheme=scheme, locale=locale)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        witness.watch(page)
        page.goto(studio_url + path)
        page.get_by_role("tab").nth(7).wait_for()
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert witness.outside == []
    assert witness.errors == []
