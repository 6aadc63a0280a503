"""A text that a model wrote, after what it was given: pressable tokens, how it ended, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Protocol

from components.widgets.distribution import percent
from components.widgets.spans import Piece, pieces_html

_ENDED = {
    "eos": "stopped by itself",
    "length": "cut off at the length you chose",
    "cancelled": "stopped by you",
}


class Written(Protocol):
    """A generated token, what it added to the text, and the probability it had, where that is known."""

    @property
    def text(self) -> str: ...
    @property
    def special(self) -> bool: ...
    @property
    def probability(self) -> float | None: ...


def generation_html(
    given: Sequence[Piece], written: Sequence[Written], label: str, *, chosen: int | None = None, busy: bool = False
) -> str:
    """`given` in grey, then each written token as a button with its position in `data-index`.

    chosen: the token whose alternatives are shown
    busy:   a mark where the next token will stand
    """
    before = pieces_html(given, "given to the model") if given else ""
    tokens = [
        Piece(
            token.text,
            role="control" if token.special else "",
            control=token.special,
            note="" if token.probability is None else f"{percent(token.probability)} likely here",
        )
        for token in written
    ]
    after = pieces_html(tokens, label, pressable=True, chosen=chosen)
    caret = '<span class="caret" aria-hidden="true"></span>' if busy else ""
    return f'<div class="generation"><div class="given">{before}</div>{after}{caret}</div>'


def ending_html(new_tokens: int, seconds: float, stop_reason: str | None, place: int = 0) -> str:
    """One line: tokens, speed and why it ended; `stop_reason` None while it goes on; `place` in the queue, from 1."""
    if place and not new_tokens and not stop_reason:
        return f'<p class="quiet">place {place} in the queue: the memory is taken by other answers …</p>'
    speed = f" · {new_tokens / seconds:,.0f} tokens/s" if seconds > 0 and new_tokens else ""
    ended = _ENDED.get(stop_reason, escape(stop_reason)) if stop_reason else "writing …"
    noun = "token" if new_tokens == 1 else "tokens"
    return f'<p class="quiet">{new_tokens} {noun}{speed} · {ended}</p>'
