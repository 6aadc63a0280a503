"""What a browser receives, packed or not, is what Gradio sends."""

from __future__ import annotations

import gzip
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from components import app, delivery
from components.context import Studio
from tests.serving import free_port

PAGE = "<html>" + "é" * 10_000


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    def page(request: Request) -> HTMLResponse:
        return HTMLResponse(PAGE)

    def words(request: Request) -> PlainTextResponse:
        return PlainTextResponse(PAGE)

    def parts(request: Request) -> StreamingResponse:
        return StreamingResponse(iter(["<html>", "é"]), media_type="text/html")

    served = Starlette(
        routes=[Route("/", page), Route("/words/", words), Route("/parts/", parts), *delivery.routes()],
        middleware=[Middleware(delivery.PackedPage)],
    )
    with TestClient(served) as opened:
        yield opened


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_every_file_arrives_as_it_is_on_the_disk(client: TestClient, encoding: str) -> None:
    paths = [path for path in delivery._FRONTEND.iterdir() if path.is_file()]
    assert len(paths) > 500
    for path in paths[::10] + [path for path in paths if path.suffix == ".woff2"][:1]:
        answer = client.get(f"/assets/{path.name}", headers={"Accept-Encoding": encoding})
        assert answer.content == path.read_bytes()
        assert answer.headers["Content-Type"].partition(";")[0] in {
            ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"
        }.get(path.suffix, answer.headers["Content-Type"])  # fmt: skip
        assert "immutable" in answer.headers["Cache-Control"]
        assert encoding == "gzip" or "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("name", ["no-such.js", "..%2F..%2Findex.html", "%2Fetc%2Fpasswd", ".", "%00"])
def test_nothing_but_those_files_is_sent(client: TestClient, name: str) -> None:
    assert client.get(f"/assets/{name}").status_code == 404


def test_the_page_is_packed_for_who_can_unpack_it(client: TestClient) -> None:
    packed = client.get("/", headers={"Accept-Encoding": "br, gzip"})
    assert packed.headers["Content-Encoding"] == "gzip" and packed.headers["Vary"] == "Accept-Encoding"
    assert packed.text == PAGE and int(packed.headers["Content-Length"]) < len(PAGE) / 10
    plain = client.get("/", headers={"Accept-Encoding": "identity"})
    assert plain.text == PAGE and "Content-Encoding" not in plain.headers


@pytest.mark.parametrize("path, text", [("/words/", PAGE), ("/parts/", "<html>é")])
def test_what_is_no_whole_page_stays_as_it_is(client: TestClient, path: str, text: str) -> None:
    answer = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert answer.text == text and "Content-Encoding" not in answer.headers


def test_the_studio_sends_its_page_and_files_this_way(tiny_studio: Studio) -> None:
    studio = replace(tiny_studio, settings=replace(tiny_studio.settings, port=free_port()))
    page = app.build(studio)
    try:
        app.serve(page, studio)
        assert page.local_url
        with urllib.request.urlopen(
            urllib.request.Request(page.local_url, headers={"Accept-Encoding": "gzip"}), timeout=30
        ) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            text = gzip.decompress(answer.read()).decode()
        assert app.TITLE in text
        script = next(iter(re.findall(r"/assets/(index-[\w-]+\.js)", text)))
        with urllib.request.urlopen(f"{page.local_url}assets/{script}", timeout=30) as answer:
            assert "immutable" in answer.headers["Cache-Control"]
    finally:
        page.close()
