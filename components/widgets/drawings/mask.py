"""Stage 2: the mask over the tokens of a conversation, each with what the base loses on it."""

from __future__ import annotations

from html import escape

from components.widgets.drawings.parts import Caption, figure
from pipelines.loss_mask import MaskedToken
from pipelines.teaching.figures import MaskFigures


def mask_html(figures: MaskFigures, where: str) -> str:
    """The tokens in their order, supervised ones lit; a bar over each is as high as its loss."""
    del where
    top = max((token.loss for token in figures.tokens if token.loss is not None), default=0.0)
    rows: list[str] = []
    for number, token in enumerate(figures.tokens):
        # A start token opens the first row; each turn after it has its own.
        if not rows or (token.role != figures.tokens[number - 1].role and number > 1):
            rows.append("")
        rows[-1] += _token(number, token, top)
    total = len(figures.tokens)
    says = f"{figures.supervised} of {total} tokens count: the assistant's words and the token that ends them."
    if figures.before is not None and figures.before_all is not None:
        costly = max((token for token in figures.tokens if token.supervised), key=lambda token: token.loss or 0.0)
        says += (
            f" Before SFT, {figures.base} loses {figures.before:.2f} nats on each of them on average, the most on "
            f"“{costly.text.strip() or costly.text}” ({costly.loss:.1f}); over all tokens it would be "
            f"{figures.before_all:.2f}."
        )
    if figures.after is not None:
        says += f" After SFT, {figures.instruct} loses {figures.after:.3f}."
    source = figures.missing or (
        "Measured on the running pair: the cross-entropy of each token given those before it, in one forward pass. The "
        "height of a bar is the loss, from zero."
    )
    legend = (
        '<ul class="tokens-legend"><li><span class="token is-on"><span class="token-text">lit</span></span> learned '
        'from</li><li><span class="token"><span class="token-text">grey</span></span> label −100: read, not '
        "learned</li></ul>"
    )
    bars = "" if top else " has-no-bars"
    body = "".join(f'<div class="tokens{bars}">{row}</div>' for row in rows) + legend
    return figure("sft", body, Caption("The mask.", says, source))


def _token(number: int, token: MaskedToken, top: float) -> str:
    kinds = ["token"] + ["is-on"] * token.supervised + ["is-control"] * _special(token.text)
    bar = figure_ = ""
    if token.loss is not None:
        bar = f'<i style="height:{100 * token.loss / top if top else 0:.2f}%"></i>'
        figure_ = f"{token.loss:.2f}" if token.loss < 9.995 else f"{token.loss:.1f}"
    words = escape(token.text.strip(" ").replace("\n", "↵")) or "␣"
    return (
        f'<span class="{" ".join(kinds)}" style="--n:{number}"><span class="token-bar">{bar}</span>'
        f'<span class="token-text">{words}</span><span class="token-loss">{figure_}</span></span>'
    )


def _special(words: str) -> bool:
    return len(words) > 2 and words[0] in "<[" and words[-1] in ">]"
