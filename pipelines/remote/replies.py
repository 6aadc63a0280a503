"""What servers write into a reply, as one record. Completions and chat, streamed and whole, and the two notations of
log-probabilities: parallel lists (the older API: vLLM, llama-cpp-python) and a list of objects (chat, llama.cpp)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.errors import InputError
from pipelines.remote.client import WHERE, reason


@dataclass(frozen=True, slots=True)
class Scored:
    """A token that was written. `likely`: texts and probabilities of what could have stood there, likeliest first."""

    token: str
    probability: float
    likely: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Delta:
    """What a reply, or an event of one, adds.

    text:   as it is to be shown
    scored: the tokens that the text is made of; empty where the server gives no probabilities
    finish: why it ends here, in the server's word; "" while it goes on
    count:  tokens of the whole answer, where the server says
    """

    text: str = ""
    scored: tuple[Scored, ...] = ()
    finish: str = ""
    count: int | None = None


def read(reply: Any) -> Delta:
    """A reply or an event. Raises InputError for one that is none, or that tells an error."""
    if not isinstance(reply, Mapping):
        raise _strange()
    if reply.get("error"):
        raise InputError(f"the server ended the answer: {reason(reply)}", WHERE, "Ask again.")
    usage = reply.get("usage")
    count = usage.get("completion_tokens") if isinstance(usage, Mapping) else None
    choices = reply.get("choices")
    if not isinstance(choices, list):
        raise _strange()
    if not choices:  # the event that only counts
        return Delta(count=count if isinstance(count, int) else None)
    choice = choices[0]
    if not isinstance(choice, Mapping):
        raise _strange()
    try:
        scored = tuple(_scored(choice.get("logprobs")))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise _strange() from error
    return Delta(
        _text(choice), scored, str(choice.get("finish_reason") or ""), count if isinstance(count, int) else None
    )


def _text(choice: Mapping[str, Any]) -> str:
    """Of a completion, of a message, or of what a message grows by; what a model thinks before it answers included."""
    message = choice.get("delta", choice.get("message"))
    if not isinstance(message, Mapping):
        return str(choice.get("text") or "")
    thought = message.get("reasoning_content") or message.get("reasoning")
    return f"{thought or ''}{message.get('content') or ''}"


def _scored(noted: Any) -> Iterator[Scored]:
    if not noted:
        return
    if noted.get("content"):
        for entry in noted["content"]:
            likely = [
                (str(other["token"]), _probability(other["logprob"])) for other in entry.get("top_logprobs") or ()
            ]
            yield Scored(str(entry["token"]), _probability(entry["logprob"]), _ordered(likely))
        return
    tokens = noted.get("tokens") or ()
    chosen = noted.get("token_logprobs") or [None] * len(tokens)
    tops = noted.get("top_logprobs") or [None] * len(tokens)
    for token, value, top in zip(tokens, chosen, tops, strict=True):
        likely = [(str(text), _probability(other)) for text, other in (top or {}).items()]
        yield Scored(str(token), _probability(value), _ordered(likely))


def _ordered(likely: list[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(likely, key=lambda pair: -pair[1]))


def _probability(logarithm: Any) -> float:
    """From 0 to 1. Servers write null or −9999 for what is impossible, and a rounded 0.00001 for what is certain."""
    return 0.0 if logarithm is None or math.isnan(float(logarithm)) else min(1.0, math.exp(min(0.0, float(logarithm))))


def _strange() -> InputError:
    return InputError("the server's answer is not in the form of OpenAI's API", WHERE, "Check what --endpoint names.")
