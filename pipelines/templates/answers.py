"""What the assistant has to write in a rendering: its words and the token that ends its turn, never the header.

The header is what the generation prompt gives for free at inference; what the template writes after it and before
the first word (an empty thinking block, a channel) is the model's to write. Where history has another
header than the prompt, or there is no prompt, the header that plain answers have is taken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.templates.traced import Origin
from pipelines.templates.types import Answer

# What ends a turn in text that no turn owns: the first thing that looks like a control token.
_STOP = re.compile(r"\s*(<[^<>\s]{1,40}>|\[[^\[\]\s]{1,40}\])")


@dataclass(frozen=True, slots=True)
class Headers:
    """What a template writes before an answer. prompt: what `add_generation_prompt` appends; plain: what stands
    before the words of a plain answer. Either may be empty."""

    prompt: str = ""
    plain: str = ""

    def length(self, before: str) -> int:
        """How many characters of `before`, a turn's text up to its first word, are its header."""
        # Blanks that no prompt gives for free (the space after Llama 2's [/INST]) are the model's to write.
        plain = self.plain if self.plain.strip() else ""
        for header in (self.prompt, plain):
            if header and before.startswith(header):
                return len(header)
        # Where plain answers have no header, nothing is one; an unknown header is header as a whole.
        return len(before) if (self.prompt or plain).strip() else 0


@dataclass(slots=True)
class _Turn:
    """An unbroken stretch of one message's turn, and the stretch of its words in it (None: no words)."""

    message: int
    start: int
    end: int
    words: tuple[int, int] | None


def find_answers(
    text: str, stretches: Sequence[tuple[int, Origin, Origin]], roles: Sequence[str], headers: Headers
) -> tuple[Answer, ...]:
    """One answer (rarely more, when other text interrupts it) for each assistant message that shows.

    stretches: `(end, turn, origin)` tiling `text`
    headers:   what the template writes before answers
    """
    answers: list[Answer] = []
    for turn in _turns(text, stretches, roles):
        first, last = turn.words or (turn.end, turn.end)
        begin = turn.start + headers.length(text[turn.start : first])
        # Blanks after the token that ends the turn are the template's, blanks of the words themselves are not.
        rest = last if turn.words else begin
        finish = rest + len(text[rest : turn.end].rstrip())
        if finish > begin:
            answers.append(Answer(turn.message, begin, finish))
    return tuple(answers)


def _turns(text: str, stretches: Sequence[tuple[int, Origin, Origin]], roles: Sequence[str]) -> list[_Turn]:
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
        elif found and found[-1].end == start and found[-1].message not in own and turn is None:
            # Printed outside every turn: the control token right after the words ends them.
            stop = _STOP.match(text, start, end)
            found[-1].end = stop.end() if stop else start
        start = end
    return found
