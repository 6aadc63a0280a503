"""Text in pieces (template spans, tokens) as HTML: coloured by role, and told apart without it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Protocol

KNOWN_ROLES = ("system", "user", "assistant", "tool", "control")
_VISIBLE = {" ": "·", "\n": "↵\n", "\t": "⇥\t", "\r": "␍"}


class RoleSpan(Protocol):
    """A stretch of a rendered conversation: `kind` is "control" or "content", `end` is exclusive."""

    @property
    def role(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of text.

    role:    one of KNOWN_ROLES, or "" for text that nobody says
    control: drawn as a chip, because it is a special token
    lit:     False greys it out (not supervised)
    note:    shown while the pointer or the focus is on it; plain text, newlines allowed
    below:   small text under it, such as a token id
    """

    text: str
    role: str = ""
    control: bool = False
    lit: bool = True
    note: str = ""
    below: str = ""


def pieces_html(
    pieces: Sequence[Piece],
    label: str,
    *,
    whitespace: bool = False,
    pressable: bool = False,
    chosen: int | None = None,
) -> str:
    """The pieces as one block that reads as `label`; arrow keys walk through those that have a note.

    whitespace: draw spaces and newlines.
    pressable:  each piece is a button with its position in `data-index`; see `PRESS`.
    chosen:     position of the piece that is marked as chosen.
    """
    focusable = [pressable or bool(piece.note) for piece in pieces]
    # One stop of the Tab key for the whole block: the chosen piece, else the first; arrows go on from there.
    stop = chosen if chosen is not None else next((i for i, yes in enumerate(focusable) if yes), None)
    parts = []
    for index, piece in enumerate(pieces):
        tabindex = (0 if index == stop else -1) if focusable[index] else None
        parts.append(_piece_html(index, piece, whitespace, pressable, tabindex, index == chosen))
    return f'<div class="pieces" role="group" aria-label="{escape(label)}">{"".join(parts)}</div>'


def _piece_html(
    index: int, piece: Piece, whitespace: bool, pressable: bool, tabindex: int | None, is_chosen: bool
) -> str:
    role = piece.role if piece.role in KNOWN_ROLES else "other" if piece.role else "none"
    classes = ["piece", f"role-{role}"]
    classes += ["is-control"] if piece.control else []
    classes += [] if piece.lit else ["is-dim"]
    classes += ["is-chosen"] if is_chosen else []
    attributes = [f'class="{" ".join(classes)}"']
    if tabindex is not None:
        attributes.append(f'tabindex="{tabindex}"')
    if pressable:
        pressed = str(is_chosen).lower()
        attributes.append(f'role="button" data-index="{index}" aria-pressed="{pressed}"')
    if piece.note:
        attributes.append(f'data-note="{escape(piece.note)}"')
        attributes.append(f'aria-label="{escape(piece.text)}: {escape(piece.note)}"')
    below = f"<small>{escape(piece.below)}</small>" if piece.below else ""
    # A newline that can be pressed has to be seen; a space beside a word need not.
    marks = shown(
        piece.text, whitespace or (pressable and not piece.text.strip(" ")) or (pressable and "\n" in piece.text)
    )
    return f"<span {' '.join(attributes)}>{marks}{below}</span>"


def shown(text: str, whitespace: bool = False) -> str:
    """Escaped text; with `whitespace`, spaces and newlines have a mark."""
    if not whitespace:
        return escape(text)
    marks = (f'<i class="ws">{_VISIBLE[c][0]}</i>{_VISIBLE[c][1:]}' if c in _VISIBLE else escape(c) for c in text)
    return "".join(marks)


def span_pieces(text: str, spans: Iterable[RoleSpan]) -> list[Piece]:
    """The spans of a rendered conversation as pieces; control spans become chips of their role."""
    return [
        Piece(
            text[span.start : span.end],
            role=span.role if span.kind == "content" else "control",
            control=span.kind == "control",
            note=f"{span.role or 'template'} · {span.kind}",
        )
        for span in spans
    ]


def legend_html(roles: Sequence[str]) -> str:
    """The names of the roles, each in its colour and mark."""
    items = "".join(f'<li><span class="piece role-{role}">{role}</span></li>' for role in roles if role in KNOWN_ROLES)
    return f'<ul class="legend" aria-label="Roles">{items}</ul>'


# For gr.HTML(js_on_load=…) that shows pressable pieces or rows: `press` carries {index}, an int.
PRESS = """
const press = (event) => {
  const target = event.target.closest("[data-index]");
  if (!target || !element.contains(target)) return;
  if (event.type === "keydown") {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
  }
  trigger("press", {index: Number(target.dataset.index)});
};
element.addEventListener("click", press);
element.addEventListener("keydown", press);
"""
