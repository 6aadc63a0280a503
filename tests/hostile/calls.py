"""Calls as nobody means them: every endpoint and every event of the served page, with values drawn at random.

What can be called is read from the studio itself: the description of its endpoints and the events of its page. A value
is of the right type three times in four, so that calls come further than the first check, and otherwise anything.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

TEXTS = [
    "", " ", "\x00", "a", "0", "-1", "NaN", "null", "../../etc/passwd", "/dev/zero", "file:///etc/passwd",
    "http://127.0.0.1:1/", "{{7*7}}", "{% for x in range(10**9) %}a{% endfor %}", "{{ messages[9].content }}",
    "{% raise %}", "<img src=x onerror=alert(1)>", "<|im_end|>", "'; DROP TABLE runs; --", "=1+1", "é" * 300,
    "\ud83d\ude00" * 50, "\u202eabc", "a" * 20_000, "run:", "run:../x", "run:0123456789abcdef", "base", "instruct",
    "pocket-base", "chatml", "lesson", "problem", "lora", "all-linear", "q_proj,v_proj", "q_proj," * 500,
    "llama-3.1-8b", "meta-llama/Llama-3.1-8B", "qlora", "full", "trl", "nf4", "bf16", "The capital of France is",
    '{"model_type": "llama"}', '{"model_type": "llama", "num_hidden_layers": 1e9}', "{" * 5_000, "(a+)+$", "%s%n",
    '{"model_type": "llama", "vocab_size": -3}', '[{"role": "user", "content": "hi"}]', '{"a":' * 2_000,
    "${jndi:ldap://x}", "\r\nSet-Cookie: a=b",
]  # fmt: skip
NUMBERS = [
    0,
    1,
    -1,
    2,
    3,
    16,
    64,
    1.5,
    0.1,
    2**31,
    2**63,
    -(2**63),
    10**30,
    1e308,
    math.inf,
    -math.inf,
    math.nan,
    1e-320,
    True,
]
ROLES = ["user", "assistant", "system", "tool", "", "robot", None, 3]
# Settings of a run that keep it short, should the rest be possible.
SHORT_RUN = {"max_steps": 1, "eval_rows": 0, "batch_size": 2}
RUN_KEYS = (
    "model method objective data pairs template train_on r lora_alpha target_modules learning_rate epochs max_steps "
    "batch_size gradient_accumulation max_length packing dtype seed resume_from trainable_tokens prompts bogus"
).split()


@dataclass(frozen=True, slots=True)
class Target:
    """Something that can be called. `makers` draws each argument; `events`: the event has data of its own."""

    name: str
    number: int
    queued: bool
    makers: tuple[Callable[[random.Random], Any], ...]
    events: bool = False


def targets(description: Mapping[str, Any], page: Mapping[str, Any]) -> list[Target]:
    """From `/gradio_api/info` and `/config`."""
    components = {component["id"]: component for component in page["components"]}
    found = []
    for event in page["dependencies"]:
        if not event["backend_fn"]:
            continue
        endpoint = description["named_endpoints"].get(f"/{event['api_name']}")
        if endpoint and event["api_visibility"] == "public":
            makers = tuple(_of_schema(part["parameter_name"], part["type"]) for part in endpoint["parameters"])
        else:
            makers = tuple(_of_component(components[number]) for number in event["inputs"])
        name = f"{event['api_name']}#{event['id']}"
        found.append(Target(name, event["id"], event["queue"], makers, event["collects_event_data"]))
    return found


def anything(draw: random.Random, depth: int = 0) -> Any:
    """Any JSON value."""
    kind = draw.randrange(7 if depth < 3 else 5)
    if kind == 0:
        return draw.choice([None, True, False])
    if kind == 1:
        return draw.choice(NUMBERS)
    if kind <= 4:
        return draw.choice(TEXTS)
    if kind == 5:
        return [anything(draw, depth + 1) for _ in range(draw.randrange(4))]
    return {str(draw.choice(TEXTS))[:30]: anything(draw, depth + 1) for _ in range(draw.randrange(4))}


def _sometimes(maker: Callable[[random.Random], Any]) -> Callable[[random.Random], Any]:
    return lambda draw: anything(draw) if draw.random() < 0.25 else maker(draw)


def _of_schema(name: str, schema: Mapping[str, Any]) -> Callable[[random.Random], Any]:
    if name == "config":
        return _sometimes(_run_config)
    if name in ("messages", "tools"):
        return _sometimes(lambda draw: _messages(draw) if name == "messages" or draw.random() < 0.5 else None)
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return _sometimes(lambda draw: draw.choice(NUMBERS))
    if kind == "boolean":
        return _sometimes(lambda draw: draw.random() < 0.5)
    if kind == "array":
        return _sometimes(lambda draw: [draw.choice(TEXTS) for _ in range(draw.randrange(4))])
    if kind == "string":
        return _sometimes(lambda draw: draw.choice(TEXTS))
    return _sometimes(_file)


def _of_component(component: Mapping[str, Any]) -> Callable[[random.Random], Any]:
    kind, props = component["type"], component["props"]
    choices = [choice[1] if isinstance(choice, list | tuple) else choice for choice in props.get("choices") or []]
    if kind in ("number", "slider"):
        low, high = props.get("minimum"), props.get("maximum")
        near = [value for value in (low, high, props.get("value")) if value is not None]
        return _sometimes(lambda draw: draw.choice([*near, 1, 2]) if draw.random() < 0.7 else draw.choice(NUMBERS))
    if kind == "checkbox":
        return _sometimes(lambda draw: draw.random() < 0.5)
    if kind == "checkboxgroup":
        return _sometimes(lambda draw: draw.sample(choices, draw.randrange(len(choices) + 1)))
    if kind in ("dropdown", "radio") and choices:
        return _sometimes(lambda draw: draw.choice(choices))
    if kind == "dataframe":
        return _sometimes(_table)
    if kind == "file":
        return _sometimes(_file)
    value = props.get("value")
    given = [value] if value not in (None, "") else []
    return _sometimes(lambda draw: draw.choice(given) if given and draw.random() < 0.5 else draw.choice(TEXTS))


def _messages(draw: random.Random) -> list[Any]:
    turns: list[Any] = []
    for _ in range(draw.randrange(5)):
        turn: dict[str, Any] = {
            "role": draw.choice(ROLES[: 3 if draw.random() < 0.7 else None]),
            "content": draw.choice(TEXTS),
        }
        if draw.random() < 0.1:
            turn[draw.choice(["name", "tool_calls", "reasoning_content", "train"])] = anything(draw, 1)
        turns.append(turn if draw.random() < 0.95 else anything(draw, 2))
    return turns


def _run_config(draw: random.Random) -> dict[str, Any]:
    wrong = {draw.choice(RUN_KEYS): anything(draw, 1) for _ in range(draw.randint(1, 3))}
    return SHORT_RUN | wrong | {"max_steps": wrong.get("max_steps", 1) if draw.random() < 0.2 else 1}


def _table(draw: random.Random) -> dict[str, Any]:
    wide = draw.randint(1, 4)
    rows = [[draw.choice(TEXTS[:30]) for _ in range(wide)] for _ in range(draw.randrange(5))]
    return {"headers": [draw.choice(TEXTS[:20]) for _ in range(wide)], "data": rows, "metadata": None}


def _file(draw: random.Random) -> Any:
    path = draw.choice(["/etc/passwd", "/dev/zero", "runs", "../studio.py", "/proc/self/environ", "", "x" * 5_000])
    return {"path": path, "orig_name": draw.choice(TEXTS), "meta": {"_type": "gradio.FileData"}}


def body(target: Target, values: list[Any], draw: random.Random, session: str) -> bytes:
    """The request as JSON; what no browser could send, NaN, is sent all the same."""
    data = anything(draw) if target.events else None
    asked = {"data": values, "fn_index": target.number, "session_hash": session, "event_data": data}
    return json.dumps(asked, ensure_ascii=True).encode()
