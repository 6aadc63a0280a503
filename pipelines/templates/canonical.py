"""A template in a form that can be edited: one tag to a piece, every literal an output, no blanks between tags.

Jinja trims blanks around tags by rules that depend on the neighbours. Here each text that the template writes is an
output of its own and each tag trims on both sides, so that pieces can be replaced one by one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

_OPENING = ("for", "if", "macro", "call", "filter", "set", "generation", "with", "block")
_MIDDLE = ("elif", "else")


@dataclass(frozen=True, slots=True)
class Piece:
    """A tag. text: the expression of an output, the words of a block tag."""

    kind: Literal["output", "block"]
    text: str

    @property
    def word(self) -> str:
        """The first word of a block tag (`for`, `endif`); empty for an output."""
        return self.text.split(None, 1)[0] if self.kind == "block" else ""


def pieces_of(jinja: str) -> list[Piece]:
    """The template's pieces in order, comments left out. Raises jinja2.TemplateSyntaxError."""
    from transformers.utils.chat_template_utils import _compile_jinja_template

    environment = _compile_jinja_template(jinja).environment
    pieces: list[Piece] = []
    inside: list[str] = []
    kind: Literal["output", "block"] = "output"
    comment = False
    for _, token, value in environment.lexer.tokeniter(jinja, None):
        if token == "comment_begin":
            comment = True
        elif token == "comment_end":
            comment = False
        elif comment or token in ("raw_begin", "raw_end"):
            continue
        elif token == "data":
            pieces.append(Piece("output", literal(value)))
        elif token in ("variable_begin", "block_begin"):
            kind, inside = ("output" if token == "variable_begin" else "block"), []
        elif token in ("variable_end", "block_end"):
            pieces.append(Piece(kind, "".join(inside).strip()))
        else:
            inside.append(value)
    return pieces


def source_of(pieces: Sequence[Piece]) -> str:
    """The pieces as a template: one to a line, indented by depth."""
    lines, depth = [], 0
    for piece in pieces:
        if piece.word.startswith("end") or piece.word in _MIDDLE:
            depth -= 1
        mark = "{{- %s -}}" if piece.kind == "output" else "{%%- %s -%%}"
        lines.append("    " * max(depth, 0) + mark % piece.text)
        if piece.word in _MIDDLE or opens(piece):
            depth += 1
    return "\n".join(lines)


def opens(piece: Piece) -> bool:
    """Whether a block tag has an end tag. `set` has one only without `=`."""
    if piece.word != "set":
        return piece.word in _OPENING
    return "=" not in piece.text


def literal(text: str) -> str:
    """Text as a Jinja string. JSON's escapes are Jinja's too."""
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085")
