"""What could stand next: tokens and their probabilities as horizontal bars."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Protocol

from components.widgets.figures import figure_html
from components.widgets.spans import shown


class Candidate(Protocol):
    """A token that could stand in a place; `probability` from 0 to 1."""

    @property
    def token(self) -> str: ...
    @property
    def probability(self) -> float: ...


def distribution_html(
    candidates: Sequence[Candidate], title: str, *, chosen: int | None = None, pressable: bool = False
) -> str:
    """A bar for each candidate, in the order given, and one for the rest. Without candidates, that there are none.

    chosen:    position of the candidate that was taken, marked
    pressable: each row is a button with its position in `data-index` (spans.PRESS)
    """
    if not candidates:
        return (
            f'<figure class="bars"><figcaption>{escape(title)}</figcaption>'
            '<p class="quiet">Not known: the server that wrote this gives no probabilities.</p></figure>'
        )
    rows = [_row(index, candidate, chosen == index, pressable) for index, candidate in enumerate(candidates)]
    numbers = [(candidate.token, candidate.probability) for candidate in candidates]
    rest = 1.0 - sum(probability for _, probability in numbers)
    if rest > 0.0005:
        rows.append(f'<li class="bar-row is-rest"><span class="bar-name">all others</span>{_bar(rest)}</li>')
        numbers.append(("all others", rest))
    body = f'<ol class="bar-list">{"".join(rows)}</ol>'
    return figure_html("bars", title, body, ("token", "probability"), numbers)


def percent(probability: float) -> str:
    """'83.1 %'; below 0.1 % it says so rather than showing zero."""
    return "< 0.1 %" if 0 < probability < 0.001 else f"{100 * probability:.1f} %"


def _row(index: int, candidate: Candidate, is_chosen: bool, pressable: bool) -> str:
    classes = "bar-row is-chosen" if is_chosen else "bar-row"
    mark = ' <b class="bar-mark">taken</b>' if is_chosen else ""
    name = f'<span class="bar-name">{shown(candidate.token, whitespace=True) or "(empty)"}{mark}</span>'
    inside = name + _bar(candidate.probability)
    if pressable:
        inside = f'<button type="button" data-index="{index}">{inside}</button>'
    return f'<li class="{classes}">{inside}</li>'


def _bar(probability: float) -> str:
    width = max(0.4, 100 * probability)
    return (
        f'<span class="bar-track"><span class="bar-fill" style="width:{width:.2f}%"></span></span>'
        f'<span class="bar-value">{percent(probability)}</span>'
    )
