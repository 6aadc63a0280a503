"""The chapter's running example: what every tab begins with, and the lesson shows."""

from __future__ import annotations

QUESTION = "What is the capital of France?"
CLOZE = "The capital of France is"  # the same as the beginning of a sentence
ANSWER = "Paris"
SENTENCE = f"{CLOZE} {ANSWER}."
