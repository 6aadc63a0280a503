"""A figure that can be taken along: what it shows, its numbers as CSV, and the buttons that save both.

`assets/js/pictures.js` hears the buttons. The numbers are those that were drawn, and travel with the markup: what is
saved is what was seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from pipelines.tables import csv_text

_TITLES = {"svg": "SVG", "png": "PNG", "csv": "CSV"}


def figure_html(
    kind: str, title: str, body: str, columns: Sequence[str], rows: Iterable[Sequence[object]], legend: str = ""
) -> str:
    """`body` under its title, and below it the ways to save it.

    kind: classes of the sheet; the first names the kind of chart
    columns, rows: the numbers that are drawn, for the CSV
    legend: markup that stands beside the title
    """
    return (
        f'<figure class="{kind}" data-name="{file_name(title)}" data-title="{escape(title)}" '
        f'data-csv="{escape(csv_text(columns, rows))}"><figcaption><span class="figure-title">{escape(title)}</span>'
        f"{legend}</figcaption>{body}{save_html('svg', 'png', 'csv')}</figure>"
    )


def save_html(*formats: str, copy: str = "Copy as slide") -> str:
    """The line of buttons below a figure, the last with the words `copy`; each can be copied as a slide, too."""
    files = " ".join(f'<button type="button" data-save="{kind}">{_TITLES[kind]}</button>' for kind in formats)
    return (
        f'<p class="figure-save">{f"Save as {files} · " if files else ""}'
        f'<button type="button" data-save="slide">{copy}</button> <span role="status"></span></p>'
    )


def file_name(title: str) -> str:
    """'Loss, on a log axis' → 'loss-on-a-log-axis'; what a file system may not like is left out."""
    return "-".join(re.findall(r"[a-z0-9]+", title.lower())[:8]) or "figure"
