"""The endpoint and the handler of the Prove block, with real processes on the tiny pair."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from gradio_client import Client

from components.context import Studio
from components.prove import prover


@pytest.mark.slow
def test_the_endpoint_streams_and_ends_with_the_record(client: Client) -> None:
    job = client.submit(stage="problem", seed=21, api_name="/prove")
    last = job.result(timeout=200)
    assert set(last) == {"claim", "source", "claimed", "measured", "passed", "seconds", "details"}
    assert last["passed"] is False and last["details"]["verdict"] == "does not hold"  # a model of random weights
    first = job.outputs()[0]
    assert {"place", "seconds", "fraction", "says", "arms"} == set(first)
    assert last["details"]["seed"] == 21


@pytest.mark.parametrize(
    "values, says", [({"stage": "lorra"}, "Did you mean 'lora'"), ({"stage": "problem", "seed": -1}, "seed: -1")]
)
def test_a_wrong_value_is_said(client: Client, values: dict[str, Any], says: str) -> None:
    with pytest.raises(Exception, match=says):
        client.predict(**values, api_name="/prove")


@pytest.mark.slow
def test_a_visitor_who_leaves_ends_the_experiment(tiny_studio: Studio) -> None:
    async def look_once_and_leave() -> int:
        stream = prover(tiny_studio, lambda: "problem")(22)
        await anext(stream)
        process = tiny_studio.experiments._jobs[0].process
        assert process is not None
        await stream.aclose()
        assert tiny_studio.experiments._jobs == []
        return process._process.wait(10)

    began = time.monotonic()
    # In a thread of its own: after browser tests this one still has Playwright's event loop.
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(asyncio.run, look_once_and_leave()).result() == -9
    assert time.monotonic() - began < 15
