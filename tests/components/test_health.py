"""What a load balancer is told, and what it is not."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from components import app
from components.context import Studio
from components.health import health
from pipelines.models import Gauge, ModelStatus
from tests.serving import free_port


def test_a_served_studio_says_how_it_is(tiny_studio: Studio) -> None:
    studio = replace(tiny_studio, settings=replace(tiny_studio.settings, port=free_port()))
    page = app.build(studio)
    with studio.manager.lease("base"):
        try:
            app.serve(page, studio)
            with urllib.request.urlopen(f"{page.local_url}healthz", timeout=30) as answer:
                assert answer.headers["Cache-Control"] == "no-store"
                told = json.load(answer)
        finally:
            page.close()
    assert told["status"] == "ok" and told["device"] == "cpu"
    assert tiny_studio.manager.pair.base.key in told["models"]
    assert 0 < told["memory"]["used"] <= told["memory"]["budget"]
    assert told["runs"] == {"waiting": 0, "training": 0}


def test_ids_of_runs_are_not_told_and_what_loads_is() -> None:
    rows = [ModelStatus(key, key, key, "llama", 1, "x", "MIT", True, 7) for key in ("base", "run:0123456789abcdef")]
    gauge = Gauge("cpu", 7, 9, {"instruct": (0.256, "reading the weights")})
    studio: Any = SimpleNamespace(
        manager=SimpleNamespace(gauge=lambda: gauge, models=lambda: rows),
        runs=SimpleNamespace(load=lambda: (2, 1)),
        rooms=SimpleNamespace(all=list),
    )
    told = health(studio)
    assert told["status"] == "loading" and told["models"] == {"base": 7} and told["loading"] == {"instruct": 0.26}
    assert "0123456789abcdef" not in json.dumps(told)
