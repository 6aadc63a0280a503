"""From messages back to a row of another format, where that format can say what the messages say."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pipelines.data.records import Example
from pipelines.errors import InputError, unknown
from pipelines.messages import Message, as_dicts

_SHAREGPT = {"user": "human", "assistant": "gpt", "tool": "observation"}
Row = dict[str, Any]


def restore(example: Example, format: str) -> Row:
    """The example as a row of `format`, with its further columns.

    Raises InputError where the format has no place for what the conversation holds: a second system turn,
    tool calls, or more turns than it knows.
    """
    if format not in _WRITERS:
        raise unknown(format, _WRITERS, "format")
    return _WRITERS[format](example)


def _messages(example: Example) -> Row:
    return {"messages": as_dicts(example.messages), **example.extra}


def _sharegpt(example: Example) -> Row:
    turns = []
    for message in example.messages:
        extra = {key: value for key, value in message.extra.items() if key != "tool_calls"}
        calls = message.extra.get("tool_calls")
        if calls:
            functions = [dict(call["function"]) for call in calls]
            said = json.dumps(functions if len(functions) > 1 else functions[0], ensure_ascii=False)
            if message.content:
                turns.append({"from": "gpt", "value": message.content, **extra})
            turns.append({"from": "function_call", "value": said, **extra})
        else:
            speaker = _SHAREGPT.get(message.role, message.role)
            turns.append({"from": speaker, "value": message.content, **extra})
    return {"conversations": turns, **example.extra}


def _list(example: Example) -> Row:
    system, turns = _alternating(example, "conversations-list")
    if system:
        raise _no_place("conversations-list", "a system turn")
    return {"conversations": [message.content for message in turns], **example.extra}


def _alpaca(example: Example) -> Row:
    return _instruction(example, "alpaca", "input", "output")


def _dolly(example: Example) -> Row:
    return _instruction(example, "dolly", "context", "response")


def _instruction(example: Example, format: str, context: str, answer: str) -> Row:
    system, turns = _alternating(example, format)
    *past, question, reply = turns
    extra = {**example.extra}
    given = extra.pop(context, "") or ""
    asked = question.content
    if given and asked.endswith(f"\n\n{given}"):
        asked = asked[: -len(given) - 2]
    else:
        given = "" if given != "<noinput>" else given
    row: Row = {"instruction": asked, context: given, answer: reply.content}
    if system:
        row["system"] = system
    if past and format == "dolly":
        raise _no_place(format, "more than one question")
    if past:
        row["history"] = [[first.content, second.content] for first, second in zip(past[::2], past[1::2], strict=True)]
    return {**row, **extra}


def _single(format: str, question: str, answer: str) -> Callable[[Example], Row]:
    def write(example: Example) -> Row:
        system, turns = _alternating(example, format)
        if len(turns) != 2:
            raise _no_place(format, "more than one question")
        row = {question: turns[0].content, answer: turns[1].content}
        return {**({"system": system} if system else {}), **row, **example.extra}

    return write


def _alternating(example: Example, format: str) -> tuple[str, list[Message]]:
    """The system prompt, and user and assistant turns in pairs."""
    turns = list(example.messages)
    system = turns.pop(0).content if turns and turns[0].role == "system" else ""
    expected = ["user", "assistant"] * (len(turns) // 2)
    if not turns or [message.role for message in turns] != expected:
        raise _no_place(format, "roles " + ", ".join(message.role for message in example.messages))
    if any(message.extra.get("tool_calls") for message in turns):
        raise _no_place(format, "tool calls")
    return system, turns


def _no_place(format: str, what: str) -> InputError:
    return InputError(f"{format} has no place for {what}", "format", "Use messages or sharegpt.")


_WRITERS: dict[str, Callable[[Example], Row]] = {
    "messages": _messages,
    "sharegpt": _sharegpt,
    "conversations-list": _list,
    "alpaca": _alpaca,
    "dolly": _dolly,
    "prompt-completion": _single("prompt-completion", "prompt", "completion"),
    "inputs-targets": _single("inputs-targets", "inputs", "targets"),
}
REVERSIBLE = tuple(_WRITERS)
