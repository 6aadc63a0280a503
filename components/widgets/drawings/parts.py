"""What all drawings are made of: the figure around them, a picture in two formats, text in it.

A drawing of shapes is drawn twice, wide and narrow, and the sheet shows the one that fits: scaled to a phone, the
letters of one picture for both could not be read. A drawing of text is HTML, which finds its own lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from components.widgets.figures import save_html


@dataclass(frozen=True, slots=True)
class Caption:
    """What stands under a drawing, as plain text. title: its name; says: what to see in it, and its figures;
    source: whether they are measured, computed or from elsewhere."""

    title: str
    says: str
    source: str


@dataclass(frozen=True, slots=True)
class Picture:
    """One format of a drawing: its size in units of its own, and the shapes as SVG."""

    width: float
    height: float
    shapes: str


def figure(stage: str, body: str, caption: Caption) -> str:
    """The drawing of a stage with its caption."""
    return (
        f'<figure class="drawing drawing-{stage}" data-name="{stage}"><div class="drawing-body">{body}</div>'
        f"<figcaption><p><b>{escape(caption.title)}</b> {escape(caption.says)}</p>"
        f"<p><small>{escape(caption.source)}</small></p>{save_html('svg', 'png')}</figcaption></figure>"
    )


def pictures(stage: str, where: str, draw: Callable[[bool], Picture], caption: Caption) -> str:
    """Both formats. `draw(wide)` gives one; `where` keeps the ids apart when a page shows a drawing twice."""
    return "".join(_svg(f"{stage}-{where}-{name}", name, draw(name == "wide"), caption) for name in ("wide", "narrow"))


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """Words at a point of the baseline. kind: classes of the sheet, such as `small`, `strong`, `quiet`."""
    named = f' class="{kind}"' if kind else ""
    ends = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{named}{ends}>{escape(words)}</text>'


def rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    """A rectangle; with four decimals, so that thin ones stay true to scale."""
    return f'<rect class="{kind}" x="{x:.2f}" y="{y:.2f}" width="{width:.4f}" height="{height:.4f}"/>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def apart(places: Sequence[float], gap: float) -> list[float]:
    """Ascending places, each moved up as far as the one before needs to be `gap` away."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap) if moved else place)
    return moved


def shortened(words: str, most: int) -> str:
    """The words on one line, cut after a whole one."""
    plain = " ".join(words.split())
    if len(plain) <= most:
        return plain
    return plain[: most - 1].rsplit(" ", 1)[0] + " …"


def count(number: int, noun: str) -> str:
    """'1 token', '8 tokens'."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _svg(key: str, name: str, picture: Picture, caption: Caption) -> str:
    return (
        f'<svg class="is-{name}" viewBox="0 0 {picture.width:g} {picture.height:g}" role="img" '
        f'aria-labelledby="drawing-{key}-title" aria-describedby="drawing-{key}-desc">'
        f'<title id="drawing-{key}-title">{escape(caption.title)}</title>'
        f'<desc id="drawing-{key}-desc">{escape(caption.says)}</desc>{picture.shapes}</svg>'
    )
