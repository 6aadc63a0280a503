"""Find the architecture that a person named: catalogue key, Hub id, or the text of a `config.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from functools import lru_cache
from typing import Any

from pipelines.architecture.catalogue import entries, facts_of, keys, load
from pipelines.architecture.records import Architecture
from pipelines.errors import InputError, unknown
from pipelines.untrusted_json import read_json

# The two models of the embedded pair share one architecture.
_PAIR = {"pocket-base": "pocket", "pocket-instruct": "pocket"}
_HUB_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
MAX_CONFIG_CHARACTERS = 200_000
BUILD_SECONDS = 60.0  # the largest catalogue model takes one; importing transformers on a busy machine many
# One build at a time: a crowd that pastes configurations queues instead of taking every core.
_builder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="architecture")


def architecture(model: str) -> Architecture:
    """The architecture of `model`. Raises InputError naming the nearest key, or what the configuration
    lacks.
    """
    name = model.strip()
    if name.startswith("{"):
        return _from_text(name)
    key = _PAIR.get(name, name).lower()
    if key in keys():
        return load(key)
    by_hub_id = {facts_of(entry.key)["hub_id"].lower(): entry.key for entry in entries()} if "/" in name else {}
    if name.lower() in by_hub_id:
        return load(by_hub_id[name.lower()])
    if _HUB_ID.fullmatch(name):
        return _from_hub(name)
    raise unknown(name, keys(), "model")


@lru_cache(maxsize=64)
def _from_text(text: str) -> Architecture:
    if len(text) > MAX_CONFIG_CHARACTERS:
        raise InputError(f"{len(text):,} characters", "model", f"A config.json has at most {MAX_CONFIG_CHARACTERS:,}.")
    try:
        config = read_json(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"the text is not valid JSON (line {error.lineno}, column {error.colno}: {error.msg})",
            "model",
            "Paste the whole config.json, from { to }.",
        ) from None
    title = str(config.get("_name_or_path") or config.get("model_type") or "Pasted configuration")[:80]
    facts = {"key": "pasted", "title": title, "hub_id": "", "source": "pasted config.json"}
    return _build(facts, config)


@lru_cache(maxsize=64)
def _from_hub(hub_id: str) -> Architecture:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        path = hf_hub_download(hub_id, "config.json", etag_timeout=5)
        with open(path, encoding="utf-8") as file:
            config = read_json(file.read(MAX_CONFIG_CHARACTERS))
    except LocalEntryNotFoundError:
        raise InputError(
            f"'{hub_id}' is not in the catalogue, and the Hub cannot be reached",
            "model",
            f"Paste its config.json, or use a catalogue key such as {', '.join(keys()[1:4])}.",
        ) from None
    except (HfHubHTTPError, OSError, ValueError):
        raise InputError(
            f"the Hub gives no config.json for '{hub_id}'",
            "model",
            "Check the name; for a gated model, paste its config.json.",
        ) from None
    source = f"https://huggingface.co/{hub_id}/blob/main/config.json"
    return _build({"key": hub_id, "title": hub_id.partition("/")[2], "hub_id": hub_id, "source": source}, config)


def _build(facts: Mapping[str, str], config: Mapping[str, Any]) -> Architecture:
    from pipelines.architecture.extract import check_config, extract

    check_config(config)
    future: Future[Architecture] = _builder.submit(extract, facts, config)
    try:
        return future.result(timeout=BUILD_SECONDS)
    except FutureTimeout:
        future.cancel()
        raise InputError(
            f"this configuration takes longer than {BUILD_SECONDS:.0f} s to build",
            "model",
            "Try again in a minute, or paste a smaller one.",
        ) from None
