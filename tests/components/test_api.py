"""The endpoints as a client meets them: through gradio_client, against a served page."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from components.context import Studio
from pipelines.visiting import CLASSROOM

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
ANSWERED = [*QUESTION, {"role": "assistant", "content": "Paris."}]


def test_the_endpoints_of_the_contract_are_listed_and_no_event_of_the_page_is(client: Client) -> None:
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    expected = {"models", "complete", "chat", "next_tokens", "templates", "render", "loss_mask"}
    expected |= {"lora", "memory", "finetune", "run", "stop", "dataset", "prove", "export"}
    assert {name.removeprefix("/") for name in named} == expected


def test_models_start_with_the_running_pair(client: Client) -> None:
    rows = client.predict(api_name="/models")
    assert [row["role"] for row in rows[:2]] == ["base", "instruct"]
    assert set(rows[0]) == {"key", "title", "role", "family", "parameters", "source", "license", "resident", "bytes"}


def test_a_completion_streams_and_ends_with_a_reason(client: Client) -> None:
    job = client.submit(prompt="The capital of", max_new_tokens=5, api_name="/complete")
    last = job.result(timeout=60)
    assert set(last) == {"text", "new_tokens", "seconds", "stop_reason"}
    assert last["stop_reason"] == "length" and last["new_tokens"] == 5
    assert job.outputs()[0]["stop_reason"] is None


def test_a_chat_answers_a_conversation(client: Client) -> None:
    last = client.predict(messages=QUESTION, max_new_tokens=3, api_name="/chat")
    assert last["stop_reason"] in ("eos", "length") and last["new_tokens"] <= 3


def test_next_tokens_come_most_probable_first(client: Client) -> None:
    rows = client.predict(prompt="The capital of", k=4, api_name="/next_tokens")
    assert len(rows) == 4 and set(rows[0]) == {"token", "id", "probability"}
    assert [row["probability"] for row in rows] == sorted((row["probability"] for row in rows), reverse=True)


def test_the_spans_of_a_rendering_tile_its_text(client: Client) -> None:
    keys = {row["key"] for row in client.predict(api_name="/templates")}
    assert "chatml" in keys
    rendered = client.predict(messages=ANSWERED, template="chatml", api_name="/render")
    ends = [0, *(span["end"] for span in rendered["spans"])]
    assert [span["start"] for span in rendered["spans"]] == ends[:-1] and ends[-1] == len(rendered["text"])


def test_a_loss_mask_says_which_tokens_count_and_what_they_cost(client: Client) -> None:
    mask = client.predict(messages=ANSWERED, api_name="/loss_mask")
    assert mask["tokens"][0]["loss"] is None
    assert mask["supervised"] == sum(token["supervised"] for token in mask["tokens"])
    assert mask["total"] == len(mask["tokens"])
    losses = [token["loss"] for token in mask["tokens"] if token["loss"] is not None]
    assert math.isclose(mask["loss_all"], sum(losses) / len(losses), rel_tol=1e-4)


def test_lora_counts_what_peft_counts_for_llama_3_8b(client: Client) -> None:
    counted = client.predict(model="llama-3.1-8b", r=16, targets="all-linear", api_name="/lora")
    assert counted["trainable"] == 41_943_040  # PEFT on LlamaConfig of meta-llama/Llama-3.1-8B


def test_the_terms_of_a_memory_estimate_add_up(client: Client) -> None:
    estimate = client.predict(model="llama-3.1-8b", api_name="/memory")
    terms = ("weights", "quant_constants", "gradients", "optimizer", "adapter", "activations", "logits", "overhead")
    assert sum(estimate[term] for term in terms) == estimate["total"]
    assert set(estimate["fits"][0]) == {"gpu", "gib", "usd_per_hour", "fits", "count"}


def test_the_lesson_data_can_be_read(client: Client) -> None:
    found = client.predict(source="lesson", limit=3, api_name="/dataset")
    assert found["format"] == "messages" and len(found["messages"]) == 3


@pytest.mark.parametrize(
    ("endpoint", "arguments", "parts"),
    [
        ("/complete", {"prompt": ""}, ["prompt", "is empty"]),
        ("/complete", {"prompt": "x", "temperature": -1}, ["temperature", "-1"]),
        ("/complete", {"prompt": "x", "model": "bass"}, ["bass", "base"]),
        ("/chat", {"messages": []}, ["messages", "empty"]),
        ("/render", {"messages": QUESTION, "template": "chatmll"}, ["chatmll", "chatml"]),
        ("/lora", {"model": "llama-3.1-8b", "r": 0}, ["r", "0"]),
        ("/memory", {"model": "llama-3.1-8b", "optimizer": "adamm"}, ["optimizer", "adamw"]),
        ("/finetune", {"config": {"learning_rat": 1e-3}}, ["learning_rat", "learning_rate"]),
        ("/run", {"run_id": "no-such-run"}, ["no-such-run"]),
        ("/dataset", {"file": "/etc/passwd"}, ["file"]),
    ],
)
def test_a_wrong_value_is_named_in_a_sentence(
    client: Client, endpoint: str, arguments: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(AppError) as raised:
        client.predict(**arguments, api_name=endpoint)
    text = str(raised.value)
    assert all(part in text for part in parts), text
    assert "Traceback" not in text and text != "None"


def test_a_client_is_a_visitor_too(client: Client, tiny_studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny_studio.runs._visitors, "_limits", replace(CLASSROOM, runs_of_one=0))
    with pytest.raises(AppError, match="runs of yours wait or train already"):
        client.predict(config={}, api_name="/finetune")
    (parameter,) = client.view_api(return_format="dict")["named_endpoints"]["/finetune"]["parameters"]
    assert parameter["parameter_name"] == "config"


@pytest.mark.slow
def test_a_run_starts_at_once_and_can_be_stopped(client: Client) -> None:
    config = {"pairs": [{"instruction": "Who are you?", "response": "A tiny model."}] * 4, "max_steps": 500}
    run_id = client.predict(config=config, api_name="/finetune")["run_id"]
    deadline = time.monotonic() + 120
    while client.predict(run_id=run_id, api_name="/run")["step"] < 1 and time.monotonic() < deadline:
        time.sleep(0.5)
    client.predict(run_id=run_id, api_name="/stop")
    while (view := client.predict(run_id=run_id, api_name="/run"))["status"] in ("queued", "running"):
        assert time.monotonic() < deadline, view
        time.sleep(0.5)
    assert view["status"] == "stopped" and view["error"] in (None, "")
    assert view["adapter"] is True
