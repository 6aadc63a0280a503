"""Stage 8: the road from base to chat; the area of each square is what the stage cost."""

from __future__ import annotations

import math
from html import escape

from components.widgets.drawings.parts import Caption, figure
from pipelines.road import OwnStage, RoadStage
from pipelines.teaching.figures import RoadFigures

FIELD = 100.0  # units of a picture, which the costliest square fills


def road_drawing_html(figures: RoadFigures, where: str) -> str:
    """Three stages in a row, each with the chapter's square and the pair's own."""
    dearest = max(stage.dollars for stage, _ in figures.stages)
    longest = max((own.seconds for _, own in figures.stages if own), default=0.0)
    columns = "".join(
        _stage(number, stage, own, dearest, longest, where) for number, (stage, own) in enumerate(figures.stages)
    )
    first, second = figures.stages[0][0], figures.stages[1][0]
    own = figures.stages[0][1], figures.stages[1][1]
    measured = ""
    if own[0] and own[1]:
        measured = f" For the pocket pair it took {own[0].seconds / own[1].seconds:,.0f} times as long."
    caption = Caption(
        "The road, its bills true to scale.",
        f"The area of a square is what its stage costs. Pretraining takes {first.dollars / second.dollars:,.0f} times "
        f"as much as SFT at its dearest.{measured}",
        "Upper squares: the chapter's costs, ranges at their upper end. Lower squares: the pocket pair's seconds, "
        f"measured when it was made.{'' if figures.running else ' It is not the pair that runs now.'}",
    )
    return figure("base-vs-chat", f'<ol class="road-drawing">{columns}</ol>', caption)


def _stage(number: int, stage: RoadStage, own: OwnStage | None, dearest: float, longest: float, where: str) -> str:
    key = f"drawing-road-{where}-{stage.key}"
    arrow = '<span class="road-arrow" aria-hidden="true">→</span>' if number else ""
    chapter = _square(f"{key}-chapter", f"{stage.title} in the chapter, {stage.chapter_cost}", stage.dollars / dearest)
    said = f"<p><b>{escape(stage.chapter_cost)}</b>{escape(stage.chapter_data)}</p>"
    rows = f'<div class="road-bill">{chapter}{said}</div>'
    if own is not None:
        cost, _, _ = own.cost.partition(" on ")
        measured = _square(f"{key}-own", f"{stage.title} of the pocket pair, {cost}", own.seconds / longest)
        rows += (
            f'<div class="road-bill is-own">{measured}<p><b>{escape(cost)}</b>{escape(own.data)}</p></div>'
            f'<p class="road-ability">{escape(own.ability)}</p>'
        )
    else:
        rows += f'<p class="road-ability">{escape(stage.ability)}</p>'
    title = f"{arrow}<b>{escape(stage.title)}</b><span>{escape(stage.how)}</span>"
    return f'<li class="road-stage"><p class="road-title">{title}</p>{rows}</li>'


def _square(key: str, title: str, share: float) -> str:
    """A square of `share` of the field's area, at its lower left."""
    side = FIELD * math.sqrt(share)
    # Too small to be found by itself; the ring is no part of the scale.
    ring = f'<circle class="ring" cx="{side / 2:.2f}" cy="{FIELD - side / 2:.2f}" r="7"/>' if side < 3 else ""
    return (
        f'<svg viewBox="0 0 {FIELD:g} {FIELD:g}" role="img" aria-labelledby="{key}"><title id="{key}">{escape(title)}'
        f'</title><rect class="bill" x="0" y="{FIELD - side:.4f}" width="{side:.4f}" height="{side:.4f}"/>{ring}</svg>'
    )
