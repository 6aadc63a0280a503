"""From a row of any flat format to messages. Whatever is not part of a message stays in `Example.extra`.

Trees span rows and are converted by `trees`. A row that does not fit raises ValueError whose text completes
"This row …".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.data.formats.columns import (
    CONVERSATION_COLUMNS,
    INPUTS_TARGETS,
    PROMPT_COMPLETION,
    SYSTEM_COLUMNS,
    as_text,
    lowered,
    nested,
    pair,
    system_of,
)
from pipelines.data.formats.detect import describe, row_format
from pipelines.data.records import Example
from pipelines.messages import Message

# Names for roles in published sets. Names that are not listed stay as they are, for the check to report.
ROLE_NAMES = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "system": "system",
    "developer": "developer",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "function_response": "tool",
    "ipython": "tool",
}
# Flattened conversations: Guanaco's and Anthropic's headers, and Alpaca's.
_SPEAKERS = re.compile(
    r"(?:^|\n\s*|(?<=[^\w\n]))(?:###\s*|\n\n)(Human|User|Assistant|System|Instruction|Input|Response)\s*:\s*"
)
_SPOKEN = {"instruction": "user", "input": "user", "response": "assistant"}


def convert(number: int, row: Any, format: str) -> Example:
    """The row as messages. `format` is that of the file; a row of another known format is converted by its own.

    Raises ValueError with the reason a row cannot be converted.
    """
    own = row_format(row)
    if own == "unknown":
        raise ValueError(f"has {describe([row])}, which is not {format}")
    if isinstance(row, str):
        row = {"text": row}
    if isinstance(row, list):
        return Example(number, _turns(row))
    columns = lowered(row)
    messages, used = _CONVERTERS[own](columns)
    extra = {name: value for name, value in row.items() if str(name).strip().lower() not in used}
    for name in ("tools",):
        if isinstance(extra.get(name), str):
            extra[name] = nested(extra[name])
    return Example(number, tuple(messages), extra)


Converted = tuple[Sequence[Message], set[str]]


def _conversation(row: Mapping[str, Any]) -> Converted:
    for name in CONVERSATION_COLUMNS:
        turns = nested(row.get(name))
        if isinstance(turns, list) and turns and row_format(turns) != "unknown":
            messages = _turns(turns)
            used = {name}
            break
    else:
        if isinstance(turns := nested(row.get("input")), list):
            messages, used = (*_turns(turns), Message("assistant", _required(row, "output"))), {"input", "output"}
        else:
            messages, used = _turns([row]), set(row)
    system = system_of(row)
    if system and not any(message.role == "system" for message in messages):
        return (Message("system", system), *messages), used | set(SYSTEM_COLUMNS)
    return messages, used


def _turns(turns: Sequence[Any]) -> tuple[Message, ...]:
    turns = [nested(turn) for turn in turns]
    if all(isinstance(turn, str) for turn in turns):
        return tuple(Message("assistant" if position % 2 else "user", turn) for position, turn in enumerate(turns))
    messages: list[Message] = []
    for position, turn in enumerate(turns, start=1):
        if not isinstance(turn, Mapping):
            raise ValueError(f"has a turn, number {position}, that is {describe([turn])}")
        messages += _turn(position, lowered(turn), turn)
    return tuple(messages)


def _turn(position: int, turn: Mapping[str, Any], original: Mapping[str, Any]) -> list[Message]:
    both = pair(turn, (("input", "output"), ("user", "assistant"), ("human", "assistant"), ("prompt", "response")))
    if both and "role" not in turn and "from" not in turn:
        return [
            Message(role, as_text(turn[name]) or "") for role, name in zip(("user", "assistant"), both, strict=True)
        ]
    speaker = turn.get("role", turn.get("from"))
    if not isinstance(speaker, str) or not speaker.strip():
        raise ValueError(f"has a turn, number {position}, without a role")
    column = next((name for name in ("content", "value", "text") if name in turn), "")
    content = _content(position, turn.get(column))
    # Parquet gives every turn every key; those without a value were not written by anybody.
    extra = {
        key: value
        for key, value in original.items()
        if str(key).strip().lower() not in ("role", "from", column) and value is not None
    }
    role = speaker.strip().lower()
    if role in ("function_call", "tool_call"):
        calls = _tool_calls(content)
        if calls:
            return [Message("assistant", "", {**extra, "tool_calls": calls})]
        return [Message("assistant", content, extra)]
    if content == "" and turn.get(column) is None and not turn.get("tool_calls"):
        raise ValueError(f"has a turn, number {position}, without text")
    return [Message(ROLE_NAMES.get(role, speaker.strip()), content, extra)]


def _content(position: int, value: Any) -> str:
    """Text of a turn; of parts (`[{"type": "text", "text": …}]`) the text, if they are nothing else."""
    if isinstance(value, list):
        parts: list[Any] = [part.get("text") if isinstance(part, Mapping) else part for part in value]
        if not all(isinstance(part, str) for part in parts):
            raise ValueError(f"has a turn, number {position}, with parts that are not text")
        return "".join(parts)
    return as_text(value) or ""


def _tool_calls(content: str) -> list[dict[str, Any]]:
    """LLaMA-Factory writes calls as JSON in the text of a `function_call` turn."""
    called = nested(content)
    calls = called if isinstance(called, list) else [called]
    if not all(isinstance(call, Mapping) and isinstance(call.get("name"), str) for call in calls):
        return []
    return [
        {"type": "function", "function": {"name": call["name"], "arguments": call.get("arguments", {})}}
        for call in calls
    ]


def _alpaca(row: Mapping[str, Any]) -> Converted:
    return _instruction(row, "input", "output")


def _dolly(row: Mapping[str, Any]) -> Converted:
    return _instruction(row, "context", "response")


def _instruction(row: Mapping[str, Any], context: str, answer: str) -> Converted:
    """`context` stays in extra too: only with it can the question be taken apart again."""
    question = _required(row, "instruction")
    given = as_text(row.get(context)) or ""
    # Alpaca's earliest rows say so in words where there is no input.
    if given.strip() and given.strip() != "<noinput>":
        question = f"{question}\n\n{given}"
    history = nested(row.get("history"))
    past = [
        Message(role, as_text(text) or "")
        for turn in (history if isinstance(history, list) else [])
        if isinstance(turn, list) and len(turn) == 2
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    used = {"instruction", answer, *SYSTEM_COLUMNS, "history"}
    if isinstance(row.get("text"), str) and "### Response:" in row["text"]:
        used.add("text")  # the same example once more, rendered
    return _with_system(row, [*past, Message("user", question), Message("assistant", _required(row, answer))]), used


def _pair_converter(pairs: tuple[tuple[str, str], ...]) -> Any:
    def converter(row: Mapping[str, Any]) -> Converted:
        names = pair(row, pairs)
        assert names is not None
        question, answer = (nested(row[name]) for name in names)
        used = {*names, *SYSTEM_COLUMNS}
        if names[0].endswith("_pretokenized"):
            used |= {"inputs", "targets"}  # the same as token ids of one tokenizer
        parts: list[Message] = []
        for name, value, role in zip(names, (question, answer), ("user", "assistant"), strict=True):
            if isinstance(value, list) and value and row_format(value) == "messages":
                parts += _turns(value)  # TRL's conversational prompt-completion
            else:
                parts.append(Message(role, _required(row, name)))
        return _with_system(row, parts), used

    return converter


def _preference(row: Mapping[str, Any]) -> Converted:
    """The chosen conversation; `rejected` stays in extra, as messages of the answer that was not chosen."""
    prompt, chosen = nested(row.get("prompt")), nested(row["chosen"])
    asked: list[Message] = []
    if isinstance(prompt, list):
        asked = list(_turns(prompt))
    elif isinstance(prompt, str):
        asked = [Message("user", prompt)]
    elif isinstance(row.get("question"), str):
        asked = [Message("user", row["question"])]
    if isinstance(chosen, list):
        answer = list(_turns(chosen))
    else:
        answer = list(_speakers(_required(row, "chosen"))) or [Message("assistant", _required(row, "chosen"))]
    # UltraFeedback repeats the prompt at the head of the answer; TRL's explicit form does not.
    whole = answer if answer and answer[0].role in ("user", "system") else [*asked, *answer]
    return _with_system(row, whole), {"chosen", "prompt", "question", *SYSTEM_COLUMNS}


def _text(row: Mapping[str, Any]) -> Converted:
    name = next(name for name in ("text", "content", "document", "body") if isinstance(row.get(name), str))
    text = _required(row, name)
    return list(_speakers(text)) or [Message("assistant", text)], {name}


def _speakers(text: str) -> list[Message]:
    """The turns of a flattened conversation, or none where the text has no headers."""
    parts = _SPEAKERS.split("\n" + text)
    messages: list[Message] = []
    for speaker, said in zip(parts[1::2], parts[2::2], strict=True):
        role = _SPOKEN.get(speaker.lower()) or ROLE_NAMES[speaker.lower()]
        if speaker == "Input" and messages:
            messages[-1] = Message("user", f"{messages[-1].content}\n\n{said.strip()}")
        else:
            messages.append(Message(role, said.strip()))
    return messages if any(message.role == "assistant" for message in messages) else []


def _with_system(row: Mapping[str, Any], messages: list[Message]) -> list[Message]:
    system = system_of(row)
    has_one = any(message.role == "system" for message in messages)
    return [Message("system", system), *messages] if system and not has_one else messages


def _required(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    text = as_text(value)
    if text is None:
        raise ValueError(f"has no text in {name}" + (f" but {json.dumps(value)[:60]}" if value is not None else ""))
    return text


_CONVERTERS = {
    "messages": _conversation,
    "sharegpt": _conversation,
    "conversations-list": _conversation,
    "alpaca": _alpaca,
    "dolly": _dolly,
    "prompt-completion": _pair_converter(PROMPT_COMPLETION),
    "inputs-targets": _pair_converter(INPUTS_TARGETS),
    "preference": _preference,
    "text": _text,
}
