"""The tokens of a conversation as the loss sees them, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from components.widgets.renderings import MAX_PIECES
from components.widgets.spans import Piece, pieces_html

if TYPE_CHECKING:
    from pipelines.loss_mask import LossMask, MaskedToken
    from pipelines.trl_mask import TrlMask

_VERDICTS = {"same": "Same.", "different": "Different.", "refuses": "Refuses."}


def mask_html(mask: LossMask, whitespace: bool = False) -> str:
    """Every token: supervised ones lit, the others grey; each tells id, label, role, loss and probability."""
    pieces = [
        token_piece(token, mask.labelled.labels[at], _why_none(mask, at))
        for at, token in enumerate(mask.tokens[:MAX_PIECES])
    ]
    cut, unseen = len(mask.tokens) - len(pieces), len(mask.tokens) - mask.seen
    more = f"The model takes {mask.seen:,} tokens: the other {unseen:,} have no loss. " if mask.seen and unseen else ""
    more += f"{cut:,} more tokens are not drawn." if cut else ""
    note = f'<p class="quiet">{more}</p>' if more else ""
    return f'<div class="mask">{pieces_html(pieces, "Tokens and their labels", whitespace=whitespace)}</div>{note}'


def token_piece(token: MaskedToken, label: int, no_loss: str = "nothing predicts the first token") -> Piece:
    """One token; what is said of it on hover and focus. no_loss: why it has none, where it has none."""
    loss = no_loss
    if token.loss is not None and token.probability is not None:
        loss = f"loss {token.loss:.3f} · probability {token.probability:.1%}"
    note = f"id {token.id} · label {label if token.supervised else '−100'}\n{token.role or 'template'} · {loss}"
    return Piece(token.text, token.role if token.supervised else "", lit=token.supervised, note=note)


def _why_none(mask: LossMask, at: int) -> str:
    if not mask.seen:
        return "no loss without the weights"
    return "beyond the model's context" if at >= mask.seen else "nothing predicts the first token"


def figures_html(mask: LossMask, no_losses: str = "") -> str:
    """Counts and means, large. `no_losses`: why there are none, without a full stop."""
    figures = [
        (f"{mask.supervised:,}", f"of {len(mask.tokens):,} tokens supervised"),
        (_number(mask.loss_supervised), "mean loss over supervised tokens"),
        (_number(mask.loss_all), "mean loss over all tokens"),
    ]
    items = "".join(
        f'<li><span class="figure-large">{value}</span><span class="figure-label">{label}</span></li>'
        for value, label in figures
    )
    why = f'<p class="quiet">No losses: {escape(no_losses)}.</p>' if no_losses else ""
    return f'<ul class="mask-figures">{items}</ul>{why}'


def verdict_html(trl: TrlMask) -> str:
    """What TRL would do, in a line."""
    return f'<p class="verdict is-{trl.verdict}"><b>{_VERDICTS[trl.verdict]}</b> {escape(trl.detail)}</p>'


def rows_html(rows: Sequence[Sequence[Piece]], captions: Sequence[str]) -> str:
    """The rows of a batch, each with its caption."""
    parts = [
        f'<li><p class="quiet">{escape(caption)}</p>{pieces_html(row, caption)}</li>'
        for row, caption in zip(rows, captions, strict=True)
    ]
    return f'<ol class="batch">{"".join(parts)}</ol>'


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
