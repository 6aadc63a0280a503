"""A studio with `--auth`: nobody who has not logged in gets further than the form."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.browser.conftest import end_studio, start_studio


@pytest.mark.slow
def test_only_who_logs_in_is_answered(tmp_path: Path) -> None:
    process, url = start_studio(tmp_path, "--auth", "ann:open sesame")
    try:
        with httpx.Client(base_url=url, timeout=60) as browser:
            room = {"visitor": "0" * 32, "place": "problem", "page": "problem"}
            call = {"data": [], "session_hash": "s"}
            for method, path, sent in (
                ("GET", "/config", None),
                ("GET", "/gradio_api/info", None),
                ("POST", "/gradio_api/call/models", call),
                ("POST", "/gradio_api/queue/join", call | {"fn_index": 0}),
                ("POST", "/gradio_api/run/predict", call | {"fn_index": 0}),
                ("POST", "/rooms/start", room),
                ("POST", "/rooms/join", {"code": "AAAA", "visitor": "0" * 32}),
            ):
                assert browser.request(method, path, json=sent).status_code == 401, path
            assert browser.post("/gradio_api/upload", files={"files": b"x"}).status_code == 401
            assert browser.get("/healthz").status_code == 200  # for whoever watches; it tells nothing of anybody
            wrong = browser.post("/login", data={"username": "ann", "password": "open"})
            assert wrong.status_code == 400
            browser.post("/login", data={"username": "ann", "password": "open sesame"}).raise_for_status()
            assert browser.get("/config").status_code == 200
            assert browser.post("/rooms/start", json=room).json()["code"]
    finally:
        assert end_studio(process) == 0
