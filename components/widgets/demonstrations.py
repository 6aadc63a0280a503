"""What a demonstration shows, as markup for a projector. Functions from records to HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from components.widgets.masks import token_piece
from components.widgets.spans import pieces_html
from pipelines.loss_mask import MaskedToken
from pipelines.teaching.records import Bars, Demonstration, Figure, Said, ShownRow

MANY = 4  # answers that fit beside each other; more stand in two rows, in smaller type


def demonstration_html(shown: Demonstration, choices: Sequence[str]) -> str:
    """All that there is to see by now, and which of the predicted `choices` came true."""
    parts = [
        _outcomes(choices, shown.outcome) if shown.outcome is not None else "",
        _answers(shown.answers) if shown.answers else "",
        _tokens(shown.tokens) if shown.tokens else "",
        _rows(shown.rows) if shown.rows else "",
        _figures(shown.figures) if shown.figures else "",
        *(_bars(bars) for bars in shown.bars),
        f'<p class="demo-conclusion">{escape(shown.conclusion)}</p>' if shown.conclusion else "",
        *(f'<p class="demo-limit">{escape(limit)}</p>' for limit in shown.limits),
        _when(shown),
    ]
    return f'<div class="demo" aria-busy="{str(not shown.done).lower()}">{"".join(parts)}</div>'


def _outcomes(choices: Sequence[str], true: int) -> str:
    items = "".join(
        f'<li data-outcome="{at}"{" class=is-true" if at == true else ""}>'
        f"{'<span aria-hidden=true>✓ </span>' if at == true else ''}{escape(choice)}"
        f"{'<span class=lesson-unseen> came true</span>' if at == true else ''}</li>"
        for at, choice in enumerate(choices)
    )
    return f'<ul class="outcomes" aria-label="What was predicted">{items}</ul>'


def _answers(answers: Sequence[Said]) -> str:
    many = " is-many" if len(answers) > MANY else ""
    return f'<div class="demo-answers{many}">{"".join(map(_answer, answers))}</div>'


def _answer(said: Said) -> str:
    caret = "" if said.ended else '<span class="caret" aria-hidden="true"></span>'
    judged = "" if said.right is None else " is-right" if said.right else " is-wrong"
    mark = "" if said.right is None else '<span aria-hidden="true">✓ </span>' if said.right else "✗ "
    given = f'<p class="demo-given" aria-label="Given">{escape(said.given)}</p>' if said.given else ""
    note = f'<p class="demo-note">{mark}{escape(said.note)}</p>' if said.note else ""
    return (
        f'<section class="demo-answer{judged}"><h3>{escape(said.title)} <small>{escape(said.form)}</small></h3>{given}'
        f'<p class="demo-text">{escape(said.text.strip())}{caret}</p>{note}</section>'
    )


def _tokens(tokens: Sequence[MaskedToken]) -> str:
    pieces = [token_piece(token, token.id, "no loss here") for token in tokens]
    return f'<div class="mask">{pieces_html(pieces, "Tokens and their labels")}</div>'


def _figures(figures: Sequence[Figure]) -> str:
    items = "".join(
        f'<li><span class="demo-value">{escape(one.value)}</span>'
        f'<span class="demo-label">{escape(one.label)}</span></li>'
        for one in figures
    )
    return f'<ul class="demo-figures">{items}</ul>'


def _bars(bars: Bars) -> str:
    items = "".join(
        f'<li><span>{escape(one.name)}</span><span class="demo-track" aria-hidden="true">'
        f'<span style="width:{100 * min(1.0, max(0.0, one.share)):.1f}%"></span></span>'
        f'<span class="demo-shown">{escape(one.shown)}</span></li>'
        for one in bars.bars
    )
    return f'<div class="demo-bars"><h3>{escape(bars.heading)}</h3><ul>{items}</ul></div>'


def _rows(rows: Sequence[ShownRow]) -> str:
    items = "".join(
        f'<li class="{"is-found" if row.found else "is-missed"}"><p class="demo-asked">{escape(row.asked)}</p>'
        f"<p>{escape(row.said)}</p>"
        f'<p class="demo-note">{escape(row.fault)}{escape(f" · {row.found}" if row.found else "")}</p></li>'
        for row in rows
    )
    return f'<ul class="demo-rows">{items}</ul>'


def _when(shown: Demonstration) -> str:
    if not shown.done:
        return f'<p class="demo-doing" role="status">{escape(shown.doing[:1].upper() + shown.doing[1:])} …</p>'
    return f'<p class="demo-when">Run on the loaded models in {shown.seconds:.1f} s.</p>'
