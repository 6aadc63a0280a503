"""Renderings of a conversation as HTML: spans or tokens, warnings, and the difference of two."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from components.widgets.spans import Piece, pieces_html, shown, span_pieces

if TYPE_CHECKING:
    from pipelines.templates import Rendered
    from pipelines.templates.comparing import Difference
    from pipelines.templates.warnings import TemplateWarning

MAX_PIECES = 6_000  # more elements than this make a page stutter


def rendering_html(
    title: str,
    rendered: Rendered,
    warnings: Sequence[TemplateWarning],
    *,
    whitespace: bool = False,
    tokens: Sequence[Piece] | None = None,
) -> str:
    """One column: the rendering (as tokens with their ids, if given) and what to know about the template."""
    pieces = list(tokens) if tokens is not None else span_pieces(rendered.text, rendered.spans)
    cut = ""
    if len(pieces) > MAX_PIECES:
        cut = f'<p class="quiet">The first {MAX_PIECES:,} of {len(pieces):,} pieces.</p>'
        pieces = pieces[:MAX_PIECES]
    count = f"{len(rendered.text):,} characters" + (f" · {len(tokens):,} tokens" if tokens is not None else "")
    return (
        f'<section class="rendering"><h4>{escape(title)}</h4><p class="quiet">{count}</p>'
        f'<div class="rendering-text">{pieces_html(pieces, f"Rendering by {title}", whitespace=whitespace)}</div>{cut}'
        f"{warnings_html(warnings)}</section>"
    )


def refusal_html(title: str, sentence: str) -> str:
    """A column whose template refused the conversation."""
    return (
        f'<section class="rendering"><h4>{escape(title)}</h4>'
        f'<p class="refusal" role="alert"><b>Refused.</b> {escape(sentence)}</p></section>'
    )


def warnings_html(warnings: Sequence[TemplateWarning]) -> str:
    """The warnings as a list; nothing for none."""
    if not warnings:
        return '<p class="quiet">No warnings.</p>'
    items = "".join(
        f'<li data-warning="{escape(warning.key)}"><details><summary>{escape(warning.title)}</summary>'
        f"<p>{escape(warning.detail)}</p></details></li>"
        for warning in warnings
    )
    return f'<ul class="warnings" aria-label="Warnings">{items}</ul>'


def difference_html(left: str, right: str, differences: Sequence[Difference]) -> str:
    """The texts of `left` and `right` (their titles) over each other: what only one has is struck or underlined."""
    if all(difference.side == "same" for difference in differences):
        return f'<p class="quiet">{escape(left)} and {escape(right)} render the same characters.</p>'
    parts = []
    for difference in differences:
        tag = {"same": "span", "left": "del", "right": "ins"}[difference.side]
        whose = {
            "same": "",
            "left": f' data-note="only in {escape(left)}"',
            "right": f' data-note="only in {escape(right)}"',
        }
        text = shown(difference.text, whitespace=difference.side != "same")
        parts.append(f"<{tag}{whose[difference.side]}>{text}</{tag}>")
    only = {
        side: sum(len(difference.text) for difference in differences if difference.side == side)
        for side in ("left", "right")
    }
    return (
        f'<p class="quiet"><del>{escape(left)}</del> has {only["left"]:,} characters of its own, '
        f"<ins>{escape(right)}</ins> {only['right']:,}.</p>"
        f'<div class="difference">{"".join(parts)}</div>'
    )
