"""The line beside the title: which pair is running, where, and how much memory its weights take."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

import gradio as gr

from components.context import Studio

if TYPE_CHECKING:
    from pipelines.models import Gauge, ModelStatus

# Seconds between two looks: often while models load, seldom once they have.
_SOON, _LATER = 1.0, 15.0


def build(studio: Studio, page: gr.Blocks) -> None:
    """Draw the line and keep it true."""
    line = gr.HTML(elem_classes="pair")
    timer = gr.Timer(_SOON)
    look = _looker(studio)
    gr.on([page.load, timer.tick], look, None, [line, timer], show_progress="hidden", api_visibility="private")


def _looker(studio: Studio) -> Callable[[], tuple[str, gr.Timer]]:
    def look() -> tuple[str, gr.Timer]:
        manager = studio.manager
        pair = manager.pair
        rows = {row.key: row for row in manager.models()}
        both = [rows[pair.base.key], rows[pair.instruct.key]]
        gauge = manager.gauge()
        here = bool(gauge.server) or all(row.resident for row in both)
        settled = here and not gauge.loading and not gauge.trouble
        return pair_html(both, gauge), gr.Timer(_LATER if settled else _SOON)

    return look


def pair_html(pair: list[ModelStatus], gauge: Gauge) -> str:
    """The base and the instruct model (in that order), the device, and resident bytes against the budget.

    With an endpoint, who answers in their place; the device and its memory then only once something runs here, too.
    """
    models = "".join(
        f"<li>{row.role} <b>{escape(row.title)}</b> {parameters(row.parameters)}{_state(row, gauge)}</li>"
        for row in pair
    )
    if gauge.server:
        trouble = f' · <span class="busy">{escape(gauge.trouble)}</span>' if gauge.trouble else ""
        models += f"<li>answered by {escape(gauge.server)}{trouble}</li>"
    if not gauge.device or (gauge.server and not gauge.used):
        return f'<ul aria-label="Running pair">{models}</ul>'
    caches = f", {size(gauge.caches)} for answers" if gauge.caches else ""
    share = min(1.0, gauge.used / gauge.budget) if gauge.budget else 0.0
    return (
        f'<ul aria-label="Running pair">{models}<li>on {escape(gauge.device.upper())}</li>'
        f"<li>{size(gauge.used)} of {size(gauge.budget)}{caches} "
        f'<meter aria-label="Memory budget used" value="{share:.4f}"></meter></li>{_crowd(gauge)}</ul>'
    )


def _crowd(gauge: Gauge) -> str:
    """How many answers are being written, when they are several."""
    if gauge.answering + gauge.waiting < 2:
        return ""
    waiting = f", {gauge.waiting} waiting" if gauge.waiting else ""
    return f"<li>{gauge.answering} answers being written{waiting}</li>"


def _state(row: ModelStatus, gauge: Gauge) -> str:
    if gauge.server:
        return ""
    if row.key in gauge.loading:
        fraction, what = gauge.loading[row.key]
        return f' · <span class="busy">{escape(what)} · {fraction:.0%}</span>'
    if not gauge.device:
        return ' · <span class="busy">loading …</span>'
    return "" if row.resident else " · loads when asked"


def parameters(count: int) -> str:
    """4262144 → '4.26 M'; a count of zero is not known."""
    for unit, size_of_unit in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if count >= size_of_unit:
            return f"{count / size_of_unit:.3g} {unit}"
    return str(count) if count else "size not known yet"


def size(count: int) -> str:
    """Bytes as '8.1 MiB'."""
    for unit, size_of_unit in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size_of_unit:
            return f"{count / size_of_unit:.1f} {unit}"
    return f"{count} B"
