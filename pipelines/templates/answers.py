"""What the assistant has to write in a rendering: its words and the token that ends its turn, never the header.

The header is what the generation prompt gives for free at inference. A template that has none, or writes history
with another header, is taken at its word: everything of the turn before the first word is header.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.templates.traced import Origin
from pipelines.templates.types import Answer


@dataclass(slots=True)
class _Turn:
    """An unbroken stretch of one message's turn, and the stretch of its words in it (None: no words)."""

    message: int
    start: int
    end: int
    words: tuple[int, int] | None


def find_answers(
    text: str, stretches: Sequence[tuple[int, Origin, Origin]], roles: Sequence[str], prompt: str
) -> tuple[Answer, ...]:
    """One answer (rarely more, when other text interrupts it) for each assistant message that shows.

    stretches: `(end, turn, origin)` tiling `text`
    prompt:    what `add_generation_prompt` appends
    """
    answers: list[Answer] = []
    for turn in _turns(stretches, roles):
        first, last = turn.words or (turn.end, turn.end)
        begin = turn.start + _header(text[turn.start : first], prompt)
        # Blanks after the token that ends the turn are the template's, blanks of the words themselves are not.
        rest = last if turn.words else begin
        finish = rest + len(text[rest : turn.end].rstrip())
        if finish > begin:
            answers.append(Answer(turn.message, begin, finish))
    return tuple(answers)


def _turns(stretches: Sequence[tuple[int, Origin, Origin]], roles: Sequence[str]) -> list[_Turn]:
    """The assistant's turns. Words printed in another message's turn (a tool's name in the tool's header) are not the
    assistant's to write, unless it has no turn of its own; words of others in its turn interrupt it."""
    own = {turn for _, turn, _ in stretches}
    found: list[_Turn] = []
    start = 0
    for end, turn, origin in stretches:
        message = turn if origin is None or turn == origin else None if origin in own else origin
        if message is not None and roles[message] == "assistant":
            words = (start, end) if origin is not None else None
            if found and found[-1].message == message and found[-1].end == start:
                before = found[-1]
                before.end = end
                before.words = (before.words[0], end) if before.words and words else words or before.words
            else:
                found.append(_Turn(message, start, end, words))
        start = end
    return found


def _header(before: str, prompt: str) -> int:
    """How many characters of `before`, the turn's text up to its first word, are its header."""
    return len(prompt) if prompt and before.startswith(prompt) else len(before)
