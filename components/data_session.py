"""What a visitor has opened in the Data tab, and the parts of the tab that show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from components.errors import shows_input_errors
from components.widgets import datasets
from pipelines.data import cleaning
from pipelines.data.record import Opened
from pipelines.data.records import INFO, KINDS, Kind
from pipelines.data.stats import budget
from pipelines.messages import parse_messages

SHOWN_ROWS, SHOWN_PROBLEMS = 3, 200
EVERY = "every kind"
NOTHING = Kind(0)


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """What one visitor has opened. `cleaned`: the key of what cleaning left, or empty; `drop`: what it dropped.

    Compared by identity: Gradio hashes what a state holds, and a data set is large.
    """

    opened: Opened
    cleaned: str = ""
    kept: int = 0
    drop: Kind = NOTHING


def overview_html(opened: Opened) -> str:
    """The figures of a data set in one row, and what they do not cover."""
    found_, stats = opened.inspection, opened.inspection.stats
    figures = [
        (found_.format, "format"),
        (f"{stats.rows:,}", "rows"),
        (f"{stats.conversations:,}", "conversations"),
        (f"{stats.total:,}", stats.unit),
        (f"{sum(found_.counts.values()):,}", "problems"),
    ]
    note = "These rows are ours, in the schema of the real set." if opened.sample else ""
    if found_.estimated:
        note += f" {found_.estimated:,} lengths are estimated from their characters."
    return datasets.figures_html(figures) + (f'<p class="quiet">{note.strip()}</p>' if note else "")


def first_pairs(opened: Opened) -> list[tuple[str, Any, Sequence[Any]]]:
    """The first rows beside the messages they become. A tree's rows are shown with its conversations in order."""
    found_ = opened.inspection
    conversations = cleaning.first_conversations(opened.path, SHOWN_ROWS)
    pairs: list[tuple[str, Any, Sequence[Any]]] = []
    for number, messages in zip(found_.numbers, conversations, strict=False):
        raw: Any = found_.shown[number - 1] if number <= len(found_.shown) else "(not kept)"
        pairs.append((f"Row {number}", raw, parse_messages(messages)))
    return pairs


def lengths_html(opened: Opened) -> str:
    """Lengths and turns as plots."""
    stats = opened.inspection.stats
    if not stats.conversations:
        return ""
    figures = [
        (f"{stats.median:,}", f"{stats.unit}, median"),
        (f"{stats.p95:,}", f"{stats.unit}, 95 % are no longer"),
        (f"{stats.longest:,}", f"{stats.unit}, longest"),
    ]
    plot = datasets.histogram_html(stats.histogram, "Length of a conversation", stats.unit)
    return datasets.figures_html(figures) + f'<div class="data-plots">{plot}{datasets.turns_html(stats.turns)}</div>'


def show_problems(session: Session | None, kind: str) -> str:
    """The problems of one kind, or of every."""
    if session is None:
        return ""
    found_ = session.opened.inspection
    chosen = [problem for problem in found_.problems if kind in (EVERY, INFO[problem.kind].title)]
    total = sum(count for each, count in found_.counts.items() if kind in (EVERY, INFO[each].title))
    shown = chosen[:SHOWN_PROBLEMS]
    return datasets.problems_html(shown, total - len(shown))


@shows_input_errors
def show_preview(session: Session | None, names: list[str]) -> str:
    """What cleaning would drop, before it does."""
    if session is None:
        return ""
    return datasets.preview_html(cleaning.preview(session.opened.inspection, session.opened.path, kinds_of(names)))


@shows_input_errors
def show_budget(
    session: Session | None,
    epochs: float,
    batch_size: int,
    accumulation: int,
    max_length: int,
    model: str,
    method: str,
    gpu: str,
) -> str:
    """Steps, tokens, hours and dollars of a run over what is open, or over what cleaning left of it."""
    from pipelines.memory.cost import cost
    from pipelines.memory.gpus import gpus
    from pipelines.memory.setup import MemorySetup

    if session is None:
        return ""
    found_ = session.opened.inspection
    lengths = [
        length for length, flags in zip(found_.lengths, found_.flags, strict=True) if not flags & int(session.drop)
    ]
    run = budget(lengths, epochs, batch_size, accumulation, max_length)
    chosen = next(row for row in gpus() if row.key == gpu)
    spent = cost(
        MemorySetup(model, method=method, seq_len=max(1, min(max_length, found_.stats.longest))), chosen, run.padded
    )
    price = "no list price" if spent.usd is None else f"${spent.usd:,.2f}"
    figures = [
        (f"{run.steps:,}", "steps"),
        (f"{run.seen:,}", f"{found_.stats.unit} seen"),
        (f"{run.padded:,}", "computed, padding included"),
        (f"{run.cut:,}", "conversations cut"),
        (_hours(spent.hours), f"on one {chosen.title}"),
        (price, f"at {chosen.price_date} prices" if spent.usd is not None else ""),
    ]
    note = "Time from floating point operations at 35 % of the GPU's peak, as the QLoRA tab derives it."
    return datasets.figures_html(figures) + f'<p class="quiet">{escape(note)}</p>'


def _hours(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} h"
    return f"{hours * 60:.1f} min" if hours * 60 >= 1 else f"{hours * 3600:.1f} s"


def drop_choices(counts: dict[Kind, int]) -> list[tuple[str, str]]:
    return [
        (f"{info.title} ({counts[info.kind]:,})" if counts.get(info.kind) else info.title, info.title)
        for info in KINDS
        if info.kind is not Kind.UNREADABLE
    ]


def names_of(kinds: Kind) -> list[str]:
    return [info.title for info in KINDS if info.kind & kinds and info.kind is not Kind.UNREADABLE]


def kinds_of(names: list[str]) -> Kind:
    drop = Kind(0)
    for info in KINDS:
        if info.title in names:
            drop |= info.kind
    return drop
