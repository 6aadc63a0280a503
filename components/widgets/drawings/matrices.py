"""Stage 5: the square matrix and the two thin ones, to one scale: r lines of it are r of its `side` lines."""

from __future__ import annotations

import math

from components.widgets.drawings.parts import Caption, Picture, figure, line, pictures, rect, text
from pipelines.teaching.figures import MatrixFigures


def matrices_html(figures: MatrixFigures, where: str) -> str:
    """W, and beside it the place of ΔW with B along its left and A along its top."""
    own = ""
    if figures.pair_trainable is not None:
        own = (
            f" On every linear layer of {figures.pair}, rank {figures.r} trains {figures.pair_trainable:,} parameters, "
            f"{figures.pair_percent:.1f} % of it: its matrices are small, so the thin ones are not as thin."
        )
    caption = Caption(
        "Two thin matrices, true to scale.",
        f"W is {figures.side:,} × {figures.side:,}: {figures.whole:,} parameters, frozen. B and A have "
        f"{figures.thin:,} each, {2 * figures.thin:,} together, {figures.times:,.0f} times fewer. The lines really are "
        f"that thin: {figures.r} of {figures.side:,}.{own}",
        "Computed: r · (in + out), as PEFT counts (Hu et al. 2021).",
    )
    return figure("lora", pictures("lora", where, lambda wide: _draw(figures, wide), caption), caption)


def _draw(figures: MatrixFigures, wide: bool) -> Picture:
    side = 320.0 if wide else 148.0
    thin = side * figures.r / figures.side
    top = 56.0 if wide else 44.0
    left = side + (100.0 if wide else 44.0)  # of ΔW
    away = 10.0 if wide else 7.0
    middle, bottom = top + side / 2, top + side
    size = f"{figures.side:,}"
    name = "huge" if wide else "large"
    shapes = [
        rect(0, top, side, side, "frozen"),
        text(0, top - 12, f"{size} × {size}", "quiet"),
        text(side / 2, middle, "W", name, "middle"),
        text(side / 2, middle + (32 if wide else 22), "frozen", "", "middle"),
        text(side + (left - side) / 2 - away / 2, middle + 8, "+", name, "middle"),
        rect(left, top, side, side, "ghost"),
        rect(left - away - thin, top, thin, side, "trained"),
        rect(left, top - away - thin, side, thin, "trained"),
        text(left + side, top - away - 10, f"A  {figures.r} × {size}", "strong", "end"),
        text(left - away, bottom + (24 if wide else 18), f"B  {size} × {figures.r}", "strong"),
        text(left + side / 2, middle, "ΔW = B A", "large" if wide else "strong", "middle"),
    ]
    square = side * math.sqrt(2 * figures.thin / figures.whole)
    if wide:
        x = left + side + 40
        shapes += [
            text(x, top + 28, f"{figures.whole:,}", "large"),
            text(x, top + 52, "parameters in W", "quiet"),
            text(x, top + 118, f"{2 * figures.thin:,}", "large accent"),
            text(x, top + 142, "in B and A together", "quiet"),
            text(x, top + 208, f"{figures.times:,.0f} ×", "large"),
            text(x, top + 232, "fewer", "quiet"),
            rect(x, bottom - square, square, square, "trained"),
            text(x + square + 10, bottom - 4, "B and A as a square", "quiet"),
        ]
        return Picture(960, bottom + 34, "".join(shapes))
    y = bottom + 62
    shapes += [
        line(0, y - 34, 340, y - 34, "ground"),
        text(0, y, f"{figures.whole:,}", "strong"),
        text(116, y, "parameters in W", "quiet"),
        text(0, y + 24, f"{2 * figures.thin:,}", "strong accent"),
        text(116, y + 24, f"in B and A, {figures.times:,.0f} × fewer", "quiet"),
        rect(0, y + 38, square, square, "trained"),
        text(square + 10, y + 38 + square - 1, "B and A as a square", "quiet"),
    ]
    return Picture(340, y + 38 + square + 6, "".join(shapes))
