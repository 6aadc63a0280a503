"""Conversations to try a template with. The words are made up, so that they are found again in what it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Chat = list[dict[str, Any]]

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "qtool",
            "description": "A tool",
            "parameters": {
                "type": "object",
                "properties": {"qkey": {"type": "string", "description": "A key"}},
                "required": ["qkey"],
            },
        },
    }
]


@dataclass(frozen=True, slots=True)
class Probe:
    """A conversation, and the tools that are given with it."""

    name: str
    chat: Chat
    tools: list[dict[str, Any]] | None = None


def probes(word: str = "q") -> tuple[Probe, ...]:
    """About twenty conversations whose texts are made of `word`."""

    def say(role: str, text: str, **more: Any) -> dict[str, Any]:
        return {"role": role, "content": text, **more}

    system, asked, answered = (
        say("system", f"{word} system"),
        say("user", f"{word} user"),
        say("assistant", f"{word} said"),
    )
    again, last = say("user", f"{word} again"), say("assistant", f"{word} last")
    chats: Mapping[str, Chat] = {
        "an answer": [asked, answered],
        "a system prompt": [system, asked, answered],
        "two turns": [asked, answered, again, last],
        "a system prompt and two turns": [system, asked, answered, again, last],
        "three turns": [asked, answered, again, last, asked, answered],
        "the user at the end": [asked, answered, again],
        "the assistant at the beginning": [answered, again, last],
        "two answers in a row": [asked, answered, last],
        "two questions in a row": [asked, again, answered],
        "an empty answer": [asked, say("assistant", "")],
        "an empty answer before": [asked, say("assistant", ""), again, last],
        "blanks around": [say("user", f" {word}\n"), say("assistant", f"\n {word} said \n\n"), again, last],
        "the same words": [say("user", word), say("assistant", word), say("user", word), say("assistant", word)],
        "words of headers": [say("user", "assistant"), say("assistant", "user"), again, say("assistant", "assistant")],
        "thinking in the text": [
            asked,
            say("assistant", f"<think>\n{word} thought\n</think>\n\n{word} said"),
            again,
            say("assistant", f"<think>\n{word} thought\n</think>\n\n{word} last"),
        ],
        "reasoning beside": [asked, say("assistant", f"{word} said", reasoning_content=f"{word} thought")],
        "reasoning beside, two turns": [
            asked,
            say("assistant", f"{word} said", reasoning_content=f"{word} thought"),
            again,
            say("assistant", f"{word} last", reasoning_content=f"{word} more"),
        ],
    }
    found = [Probe(name, chat) for name, chat in chats.items()]
    call = {
        "id": "call00001",
        "type": "function",
        "function": {"name": "qtool", "arguments": {"qkey": f"{word} value"}},
    }
    result = say("tool", f"{word} result", name="qtool", tool_call_id="call00001")
    calls = {
        "a tool call": [asked, say("assistant", "", tool_calls=[call]), result, last],
        "a tool call with words": [asked, say("assistant", f"{word} said", tool_calls=[call]), result, last],
        "a tool call as text": [
            asked,
            say(
                "assistant",
                "",
                tool_calls=[{**call, "function": {"name": "qtool", "arguments": f'{{"qkey": "{word}"}}'}}],
            ),
            result,
            last,
        ],
        "two tool calls": [asked, say("assistant", "", tool_calls=[call, call]), result, result, last],
        "a tool call at the end": [system, asked, say("assistant", "", tool_calls=[call])],
        "a tool call with reasoning": [
            asked,
            say("assistant", "", tool_calls=[call], reasoning_content=f"{word} thought"),
            result,
            last,
            again,
            answered,
        ],
    }
    return (*found, *(Probe(name, chat, TOOLS) for name, chat in calls.items()))
