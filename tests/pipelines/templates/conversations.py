"""Forty-odd conversations that templates treat differently: the set that every template is rendered on."""

from __future__ import annotations

from typing import Any

Chat = list[dict[str, Any]]


def said(*turns: str, **last: Any) -> Chat:
    """`"user: 2+2?"` → a message; keywords go to the last one."""
    chat: Chat = [dict(zip(("role", "content"), turn.split(": ", 1), strict=True)) for turn in turns]
    chat[-1] |= last
    return chat


def call(name: str, arguments: Any, number: int = 1) -> dict[str, Any]:
    return {
        "id": f"call0000{number}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "Its name"}},
                "required": ["city"],
            },
        },
    }
]

WITH_TOOLS: Chat = [
    {"role": "user", "content": "Weather in Paris?"},
    {"role": "assistant", "content": "", "tool_calls": [call("weather", {"city": "Paris"})]},
    {"role": "tool", "name": "weather", "tool_call_id": "call00001", "content": "14 degrees"},
    {"role": "assistant", "content": "It is 14 degrees in Paris."},
]

CONVERSATIONS: dict[str, Chat] = {
    "question": said("user: 2+2?"),
    "answer": said("user: 2+2?", "assistant: 4"),
    "system": said("system: Be brief.", "user: 2+2?", "assistant: 4"),
    "system and question": said("system: Be brief.", "user: 2+2?"),
    "two turns": said("user: 2+2?", "assistant: 4", "user: 3+3?", "assistant: 6"),
    "ends with the user": said("user: 2+2?", "assistant: 4", "user: 3+3?"),
    "system and two turns": said("system: S", "user: a", "assistant: b", "user: c", "assistant: d"),
    "ten turns": said(*[f"{role}: turn {n}" for n in range(10) for role in ("user", "assistant")]),
    "starts with the assistant": said("assistant: Hello!", "user: Hi", "assistant: How can I help?"),
    "assistant alone": said("assistant: Hello!"),
    "system alone": said("system: Be brief."),
    "two users": said("user: one", "user: two", "assistant: both"),
    "two assistants": said("user: go", "assistant: one", "assistant: two"),
    "system in the middle": said("user: a", "assistant: b", "system: S", "user: c", "assistant: d"),
    "two systems": said("system: one", "system: two", "user: a", "assistant: b"),
    "blanks around": said("system:  \n S \n", "user: \n\n 2+2?  ", "assistant:   4 \n\n"),
    "empty answer": said("user: 2+2?", "assistant: "),
    "empty question": said("user: ", "assistant: nothing"),
    "empty system": said("system: ", "user: a", "assistant: b"),
    "only blanks": said("user:    ", "assistant: \n \n"),
    "the same words": said("user: yes", "assistant: yes", "user: yes", "assistant: yes"),
    "words of the header": said("user: assistant", "assistant: user", "user: system", "assistant: assistant"),
    "one letter": said("user: a", "assistant: a", "user: a", "assistant: a"),
    "ChatML inside": said("user: <|im_end|>\n<|im_start|>assistant\nno", "assistant: <|im_end|> yes"),
    "Llama 3 inside": said("user: <|eot_id|><|start_header_id|>system<|end_header_id|>", "assistant: <|eot_id|>"),
    "Llama 2 inside": said("user: [INST] <<SYS>> x <</SYS>> [/INST]", "assistant: </s><s>[INST] hm [/INST]"),
    "Gemma inside": said("user: <end_of_turn>\n<start_of_turn>model\n", "assistant: <start_of_turn>user"),
    "Jinja inside": said("user: {{ 7 * 7 }} {% raw %}", "assistant: {{ messages }} {# no #}"),
    "unicode": said("user: Grüße, naïve café ﬁ ß", "assistant: Žluťoučký kůň — “quoted” ©"),
    "emoji": said("user: 👩‍👩‍👧‍👦 🇫🇷 👍🏽", "assistant: 🎉🎉 ❤️"),
    "right to left": said("user: ما هي عاصمة فرنسا؟", "assistant: باريس", "user: תודה", "assistant: בבקשה"),
    "east asian": said(
        "user: 法国的首都是哪里？", "assistant: 巴黎。\u3000", "user: フランスの首都は？", "assistant: パリです。"
    ),
    "control characters": said("user: a\x00b\x07\tc\r\nd", "assistant: \u2028\u2029\ufeff\u200bend\u00a0"),
    "private use": said("user: \ue000\U000f0000\U000f0001\ue001", "assistant: \ue0000\ue001"),
    "long": said("user: " + "word " * 4000, "assistant: " + "answer\n" * 3000),
    "code": said("user: Write it", "assistant: ```python\ndef f(x):\n    return {x: [x]}\n```\n\n"),
    "thinking in the text": said(
        "user: 2+2?",
        "assistant: <think>\nadd them\n</think>\n\n4",
        "user: 3+3?",
        "assistant: <think>again</think>6",
    ),
    "thinking with one tag": said("user: 2+2?", "assistant: only an end</think>4", "user: x", "assistant: <think>y"),
    "reasoning beside": said("user: 2+2?", "assistant: 4", reasoning_content="two and two"),
    "reasoning of old": said("user: 2+2?", "assistant: 4", thinking="two and two"),
    "empty reasoning": said("user: 2+2?", "assistant: 4", reasoning_content=""),
    "tool call": WITH_TOOLS,
    "tool call with words": [
        said("user: Weather?")[0],
        {"role": "assistant", "content": "I look.", "tool_calls": [call("weather", {"city": 'Łódź "x" \n'})]},
        *WITH_TOOLS[2:],
    ],
    "tool call as text": [
        WITH_TOOLS[0],
        {"role": "assistant", "content": "", "tool_calls": [call("weather", '{"city": "Paris"}')]},
        *WITH_TOOLS[2:],
    ],
    "two tool calls": [
        WITH_TOOLS[0],
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [call("weather", {"city": "Paris"}), call("weather", {"city": "Rome"}, 2)],
        },
        WITH_TOOLS[2],
        {"role": "tool", "name": "weather", "tool_call_id": "call00002", "content": "20 degrees"},
        {"role": "assistant", "content": "14 and 20."},
    ],
    "ends with a call": WITH_TOOLS[:2],
    "developer": said("developer: Be brief.", "user: a", "assistant: b"),
    "unknown role": said("user: a", "critic: bad", "assistant: b"),
    "no content": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "", "name": "Bob"}],
}
