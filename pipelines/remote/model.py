"""A model of a server, as the studio asks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.answering import ALTERNATIVES, Conversation, Ids, Prompt, Sampling, Text, TokenProbability, Writing
from pipelines.errors import InputError
from pipelines.messages import as_dicts
from pipelines.remote.answer import ServedAnswer, probabilities
from pipelines.remote.replies import read
from pipelines.remote.server import Server
from pipelines.remote.vocabulary import Vocabulary


class ServedModel:
    """`name`: what the server is asked for, or what it may list under another path; `title`: for a person."""

    def __init__(self, server: Server, name: str, title: str, vocabulary: Vocabulary) -> None:
        self._server, self._name, self._title, self._vocabulary = server, name, title, vocabulary

    def write(self, prompt: Prompt, sampling: Sampling, details: bool = True) -> Writing:
        """Begin an answer. Raises InputError at once when the server has no such model."""
        path, body = self._request(prompt, sampling)
        body["stream"] = True
        ids = self._vocabulary.encode(prompt)
        return ServedAnswer(self._server, path, body, ALTERNATIVES if details else 0, self._vocabulary, ids)

    def next_tokens(self, text: str, k: int) -> tuple[TokenProbability, ...]:
        """The k most probable next tokens after a text, or as many as the server gives. Raises InputError if none."""
        path, body = self._request(Text(text), Sampling(1))
        task = self._server.client.start(self._server.once(path, body, k))
        delta = read(task.result())
        likely = delta.scored[0].likely if delta.scored else ()
        if not likely:
            raise InputError(
                f"the server at {self._server.client.shown} gives no probabilities",
                "model",
                "vLLM and llama.cpp do; `transformers serve` does not.",
            )
        return probabilities(self._vocabulary, likely[:k])

    def spelled(self, ids: Sequence[int]) -> list[tuple[str, bool]]:
        """As `completion.spelled`."""
        return self._vocabulary.spelled(ids)

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids that are known to end an answer."""
        return self._vocabulary.stop_ids

    def _request(self, prompt: Prompt, sampling: Sampling) -> tuple[str, dict[str, Any]]:
        body: dict[str, Any] = {
            "model": self._server.name_of(self._name),
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            # What is left out, servers take from the model's own recommendations; here all tokens may be drawn.
            "top_p": 1.0,
            "seed": sampling.seed,
        }
        asked = self._vocabulary.decode(prompt.ids) if isinstance(prompt, Ids) else prompt
        if isinstance(prompt, Ids) and isinstance(asked, Conversation):
            # vLLM's words for going on with a turn that is begun; llama.cpp does so by itself.
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        if isinstance(asked, Text):
            return "completions", body | {"prompt": asked.text}
        if asked.template:
            raise InputError(
                f"the server applies the template of {self._title}, and no other",
                "template",
                "Leave it empty, or start the studio without --endpoint.",
            )
        if not asked.messages:
            raise InputError("the conversation is empty", "messages", "Add at least one message.")
        return "chat/completions", body | {"messages": as_dicts(asked.messages)}
