"""The studio in a frame of another site, which a browser may refuse every storage."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FrameLocator, Page, expect

from tests.browser.conftest import CHROMIUM, FLAGS, Witness

pytestmark = pytest.mark.browser
PATIENCE = 60_000  # milliseconds; the first answer may have to wait for the models
STORAGE = "() => { try { localStorage.setItem('a', 'b'); return 'kept'; } catch (error) { return error.name; } }"


@pytest.fixture
def course(studio_url: str) -> Iterator[str]:
    """The address of a page with the studio in it: `localhost` is another site than `127.0.0.1`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            frame = f'<iframe src="{studio_url}/?tab=problem" width="1200" height="700" title="studio"></iframe>'
            self.wfile.write(f"<!doctype html><link rel=icon href=data:,><h1>A course</h1>{frame}".encode())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def strict_page(chromium: Browser, tmp_path: Path) -> Iterator[Page]:
    """A page of a Chromium that lets no embedded site keep anything, as a person can choose in its settings."""
    preferences = tmp_path / "Default" / "Preferences"
    preferences.parent.mkdir()
    preferences.write_text(json.dumps({"profile": {"block_third_party_cookies": True, "cookie_controls_mode": 1}}))
    context = chromium.browser_type.launch_persistent_context(str(tmp_path), executable_path=CHROMIUM, args=FLAGS)
    yield context.new_page()
    context.close()


def ask_in(frame: FrameLocator) -> None:
    frame.get_by_label("Prompt", exact=True).fill("What is the capital of France?")
    frame.get_by_role("button", name="Ask both").click()
    for key in ("base-raw", "instruct-chat"):
        answer = frame.locator(f".cell-{key}").first
        expect(answer).to_contain_text(re.compile("stopped by itself|cut off"), timeout=PATIENCE)


@pytest.mark.slow
def test_the_page_works_in_a_frame_that_may_keep_nothing(strict_page: Page, course: str, studio_url: str) -> None:
    witness = Witness()
    strict_page.on("console", lambda message: message.type == "error" and witness._error(message.text))
    strict_page.on("pageerror", lambda error: witness._error(str(error)))
    strict_page.goto(course)
    frame = strict_page.frame_locator("iframe")
    frame.get_by_role("tab", name="Base vs Chat", exact=True).wait_for(timeout=PATIENCE)
    studio = next(frame for frame in strict_page.frames if frame.url.startswith(studio_url))
    assert studio.evaluate(STORAGE) == "SecurityError"
    ask_in(frame)
    # What is chosen is kept for as long as the page is open, and the tab's address is the frame's own.
    frame.get_by_role("tab", name="Practice", exact=True).click()
    expect(frame.get_by_role("tabpanel").and_(frame.locator(":visible"))).to_contain_text("Step 7 / 8")
    studio.wait_for_url("**/?tab=practice", wait_until="commit")
    assert strict_page.url == course
    assert re.fullmatch("[0-9a-f]{32}", studio.evaluate("studioVisitor()"))
    assert witness.errors == []
