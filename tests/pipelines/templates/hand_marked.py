"""Each template's answers, marked by hand: what a person who reads a rendering would underline.

A pattern's first group is an answer: what comes after the text that the generation prompt gives for free, with the
token that ends the turn. It is written from the published format and knows nothing of how a template is written.
Contents that look like control text are hidden from the patterns, character by character (`hidden`), so that only
what the template itself wrote can match.
"""

from __future__ import annotations

import re
from typing import Any

from tests.pipelines.templates.conversations import Chat

_CHATML = r"<\|im_start\|>assistant\n(.*?<\|im_end\|>)"
# Thinking is opened by the generation prompt; an old turn, whose thoughts are dropped, has the plain header.
_CHATML_THINKING = r"<\|im_start\|>assistant\n(?:<think>\n)?(.*?<\|im_end\|>)"
_LLAMA_3 = r"<\|start_header_id\|>assistant<\|end_header_id\|>\n\n(.*?<\|eot_id\|>)"
_INST = r"\[/INST\](.*?</s>)"
# An answer follows a question or the last of the tool's results.
_INST_TOOLS = r"(?:\[/INST\]|\[/TOOL_RESULTS\](?!\[TOOL_RESULTS\]))(.*?</s>)"
_GEMMA = r"<start_of_turn>model\n(.*?<end_of_turn>)"
_DEEPSEEK = r"(?:<｜Assistant｜>(?:<think>\n)?|<｜tool▁outputs▁end｜>)(.*?<｜end▁of▁sentence｜>)"

ANSWERS = {
    "pocket": r"<\|assistant\|>(.*?<\|end\|>)",
    "chatml": _CHATML,
    "llama2": _INST,
    "llama3": _LLAMA_3,
    "llama3.1": _LLAMA_3,
    "llama3.2": _LLAMA_3,
    "mistral-v0.1": _INST,
    "mistral-v0.2": _INST,
    "mistral-v0.3": _INST_TOOLS,
    "mistral-nemo": _INST_TOOLS,
    "zephyr": r"<\|assistant\|>\n(.*?</s>)",
    "gemma": _GEMMA,
    "gemma3": _GEMMA,
    # A call ends by opening the response, which the tool writes; then the same turn goes on.
    "gemma4": r"(?:<\|turn>model\n|<tool_response\|>(?!<\|tool_response>))(.*?(?:<turn\|>|<\|tool_response>))",
    "phi3": r"<\|assistant\|>\n(.*?<\|end\|>)",
    "phi3.5": r"<\|assistant\|>\n(.*?<\|end\|>)",
    "phi4": r"<\|im_start\|>assistant<\|im_sep\|>(.*?<\|im_end\|>)",
    "qwen2": _CHATML,
    "qwen2.5": _CHATML,
    "qwen3": _CHATML,
    "qwen3-2507": _CHATML,
    "qwen3.5": _CHATML_THINKING,
    "qwen3.6": _CHATML_THINKING,
    "deepseek-r1-distill": _DEEPSEEK,
    "deepseek-v3": _DEEPSEEK,
    "smollm2": _CHATML,
    "smollm3": _CHATML,
    "tulu": r"<\|assistant\|>\n(.*?<\|end_of_text\|>)",
    "olmo2": r"<\|assistant\|>\n(.*?<\|endoftext\|>)",
    # After its analysis the model itself opens the next message.
    "gpt-oss": r"<\|start\|>assistant((?:<\|channel\|>analysis<\|message\|>.*?<\|end\|><\|start\|>assistant)?"
    r".*?<\|(?:end|return|call)\|>)",
    "command-r": r"<\|CHATBOT_TOKEN\|>(.*?<\|END_OF_TURN_TOKEN\|>)",
    "cohere2": r"<\|CHATBOT_TOKEN\|><\|START_RESPONSE\|>(.*?<\|END_OF_TURN_TOKEN\|>)",
    # No token ends a turn: the next header does, and it is not the answer's.
    "glm4-moe": r"<\|assistant\|>(.*?)(?=<\|(?:system|user|assistant|observation)\|>|\Z)",
    "lfm2": _CHATML,
    "lfm2.5": _CHATML,
    # The prompt gives an open thinking block, or a closed one where thinking is switched off.
    "nemotron3-nano": r"<\|im_start\|>assistant\n(?:<think>\n|<think></think>)?(.*?<\|im_end\|>)",
    "granite3": r"<\|start_of_role\|>assistant<\|end_of_role\|>(.*?<\|end_of_text\|>)",
    "vicuna": r"ASSISTANT:(.*?</s>)",
    "alpaca": r"### Response:\n(.*?</s>)",
    "openchat": r"GPT4 Correct Assistant:(.*?<\|end_of_turn\|>)",
}

# The characters of control text, moved to a plane that nobody writes in. Quotes and backslashes stay, since JSON
# writes them as two characters; blanks stay, since templates trim them.
_HIDE = {ord(c): 0x100000 + ord(c) for c in map(chr, range(33, 127)) if c not in "\"'\\"}
_SHOW = {hidden: plain for plain, hidden in _HIDE.items()}
_THINKING = re.compile(r"(</?think>)")  # templates look for these in what was said


def hidden(chat: Chat) -> Chat:
    """The conversation with what was said hidden, each character by another one."""
    return [
        {key: value if key in ("role", "tool_call_id", "name") else _hidden(value) for key, value in message.items()}
        for message in chat
    ]


def _hidden(value: Any) -> Any:
    if isinstance(value, str):
        return "".join(part if _THINKING.fullmatch(part) else part.translate(_HIDE) for part in _THINKING.split(value))
    if isinstance(value, list):  # calls: the values of their arguments are what was said
        return [
            {
                **call,
                "function": {
                    **call["function"],
                    "arguments": {key: _hidden(item) for key, item in call["function"]["arguments"].items()},
                },
            }
            if isinstance(call["function"]["arguments"], dict)
            else call
            for call in value
        ]
    return value


def shown(text: str) -> str:
    """A rendering of a hidden conversation with everything visible again."""
    return text.translate(_SHOW)


def marked_answers(key: str, text: str) -> list[tuple[int, int]]:
    """The answers in a rendering of a hidden conversation, as `(start, end)`."""
    return [match.span(1) for match in re.finditer(ANSWERS[key], text, re.DOTALL) if match[1]]
