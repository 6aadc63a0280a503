"""Whether a conversation asks what the evaluation set asks.

A question is in the evaluation set when its words are the same as a held-out question's, or when it shares
thirteen words in a row with one, the length used for GPT-3's and later models' contamination checks
(Brown et al. 2020, appendix C).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pipelines.messages import Message

RUN = 13
FEWEST_WORDS = 3  # "Thank you!" is asked everywhere
_WORD = re.compile(r"\w+")


class EvaluationSet:
    """The questions of an evaluation set, ready to be looked up."""

    def __init__(self, questions: Iterable[str] = ()) -> None:
        self._questions: set[tuple[str, ...]] = set()
        self._runs: set[int] = set()
        for question in questions:
            words = tuple(_WORD.findall(question.casefold()))
            if len(words) >= FEWEST_WORDS:
                self._questions.add(words)
                self._runs.update(_runs(words))

    def match(self, messages: Sequence[Message]) -> str:
        """The user's words that are in the evaluation set too, or an empty text."""
        if not self._questions:
            return ""
        for message in messages:
            if message.role == "user":
                words = tuple(_WORD.findall(message.content.casefold()))
                if words in self._questions or (self._runs and not self._runs.isdisjoint(_runs(words))):
                    return message.content
        return ""


def _runs(words: tuple[str, ...]) -> Iterable[int]:
    return (hash(words[start : start + RUN]) for start in range(len(words) - RUN + 1))
