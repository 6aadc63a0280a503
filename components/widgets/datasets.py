"""Data sets as markup: the catalogue, rows beside their messages, problems, lengths. All text is escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from components.widgets.charts import Bar, Part, bar_chart
from components.widgets.figures import figure_html
from pipelines.data.catalogue import DatasetEntry
from pipelines.data.cleaning import Preview
from pipelines.data.records import INFO, Kind, Problem
from pipelines.data.stats import Histogram
from pipelines.messages import Message

_MADE = {"human": "written by people", "distilled": "distilled", "multi-task": "multi-task", "mixed": "mixed"}
_SHOWN = 600


def figures_html(figures: Sequence[tuple[str, str]]) -> str:
    """Numbers with their labels in one row; each pair is (number, label)."""
    items = "".join(
        f'<li><span class="figure-large">{escape(value)}</span> <span class="figure-label">{escape(label)}</span></li>'
        for value, label in figures
    )
    return f'<ul class="data-figures">{items}</ul>'


def catalogue_html(entries: Sequence[DatasetEntry]) -> str:
    """The catalogue as a table, in the order given."""
    if not entries:
        return '<p class="quiet">No data set of the catalogue has all of these words.</p>'
    rows = "".join(_catalogue_row(entry) for entry in entries)
    heads = ("Data set", "Chapter", "Exact", "Made", "Licence", "Languages", "Columns")
    return _table(heads, rows, "Catalogue of data sets", wide=True)


def _catalogue_row(entry: DatasetEntry) -> str:
    exact = f"{entry.count:,}" if entry.count is not None else "not stated"
    note = f"<small>{escape(entry.note)}</small>" if entry.note else ""
    read = f"card read {entry.checked}" if entry.checked else "as reported"
    checked = f"<small>{escape(read)}</small>" if entry.count is not None else ""
    hub = f"<small>Hub: {escape(entry.hub_id)}</small>" if entry.hub_id else "<small>not on the Hub</small>"
    return (
        f'<tr><th scope="row"><a href="{escape(entry.source)}" target="_blank" rel="noopener">{escape(entry.title)}'
        f"</a><small>{escape(entry.maker)}, {entry.year}</small>{hub}</th>"
        f"<td>{escape(entry.chapter_size or '—')}</td>"
        f"<td>{exact}<small>{escape(entry.unit)}</small>{checked}</td>"
        f"<td>{_MADE[entry.made]}<small>{escape(entry.how)}</small>{note}</td>"
        f"<td>{escape(entry.licence or 'not stated')}</td><td>{escape(entry.languages)}</td>"
        f"<td>{escape(entry.format)}<small>{escape(', '.join(entry.columns))}</small></td></tr>"
    )


def sizes_html(entries: Sequence[DatasetEntry]) -> str:
    """Sizes on a logarithmic axis, smallest first. A data set without any stated size has no bar."""
    sized = sorted((entry for entry in entries if entry.size), key=lambda entry: entry.size or 0)
    bars = [
        Bar(
            entry.title,
            [Part(_MADE[entry.made], float(entry.size or 0), f"{entry.unit}; {entry.how}")],
            entry.unit if entry.count is not None else "as the chapter says",
        )
        for entry in sized
    ]
    return bar_chart(bars, "Size, on a logarithmic axis", log=True) if bars else ""


def histogram_html(histogram: Histogram, title: str, x_label: str) -> str:
    """Counts as upright bars over a common axis, as an SVG; each bar says its range and count."""
    edges, counts = histogram.edges, histogram.counts
    top = max(counts, default=0) or 1
    width = 100 / len(counts)
    bars = "".join(
        f'<rect x="{width * place + width * 0.06:.3f}" y="{100 - 100 * count / top:.3f}" width="{width * 0.88:.3f}" '
        f'height="{100 * count / top:.3f}"><title>{_span(edges[place], edges[place + 1])}: {count:,}</title></rect>'
        for place, count in enumerate(counts)
    )
    middle = edges[len(counts) // 2]
    said = f"{title}: {sum(counts):,} rows from {edges[0]:,} to {edges[-1] - 1:,}; most in one bar: {top:,}"
    body = (
        f'<div class="plot data-plot" role="img" aria-label="{escape(said)}">'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{bars}</svg>'
        f'<span class="tick-y" style="bottom:100%">{top:,}</span><span class="tick-y" style="bottom:0">0</span>'
        f'<span class="tick-x" style="left:0">{edges[0]:,}</span>'
        + (
            f'<span class="tick-x" style="left:{width * (len(counts) // 2):.1f}%">{middle:,}</span>'
            if len(counts) > 3
            else ""
        )
        + f'<span class="tick-x" style="left:100%">{edges[-1]:,}</span></div>'
        f'<p class="axis-label">{escape(x_label)}</p>'
    )
    rows = [(edges[place], edges[place + 1] - 1, count) for place, count in enumerate(counts)]
    return figure_html("chart", title, body, (f"{x_label}, from", "to", "rows"), rows)


def _span(low: int, end: int) -> str:
    return f"{low:,}" if end == low + 1 else f"{low:,} to {end - 1:,}"


def pairs_html(rows: Sequence[tuple[str, Mapping[str, Any] | Any, Sequence[Message]]]) -> str:
    """Rows as they are in the file beside the messages they become; each is (name, raw row, messages)."""
    if not rows:
        return '<p class="quiet">No row could be converted.</p>'
    parts = "".join(
        f'<article class="data-pair"><section><h4>{escape(name)}, as it is</h4><pre>{escape(raw_text(raw))}</pre>'
        f"</section><section><h4>as messages</h4>{messages_html(messages)}</section></article>"
        for name, raw, messages in rows
    )
    return f'<div class="data-pairs">{parts}</div>'


def problem_counts_html(counts: Mapping[Kind, int]) -> str:
    """Each kind that was found with its number of rows and the rule that finds it."""
    if not counts:
        return '<p class="quiet">No problems were found.</p>'
    rows = "".join(
        f'<tr><th scope="row">{escape(INFO[kind].title)}</th><td class="num">{count:,}</td>'
        f"<td>{escape(INFO[kind].rule)}</td></tr>"
        for kind, count in counts.items()
    )
    return _table(("Problem", "Rows", "How it is told"), rows, "Problems by kind")


def problems_html(problems: Sequence[Problem], more: int) -> str:
    """Problems row by row: row, what, advice. `more`: how many were found beyond these."""
    if not problems:
        return ""
    rows = "".join(
        f'<tr><td class="num">{problem.row:,}</td><td>{escape(problem.what)}</td><td>{escape(problem.advice)}</td></tr>'
        for problem in problems
    )
    rest = f'<p class="quiet">and {more:,} more</p>' if more > 0 else ""
    return _table(("Row", "What", "Advice"), rows, "Problems row by row") + rest


def preview_html(preview: Preview) -> str:
    """What cleaning would keep and drop, and the first rows that it would drop."""
    unread = f", {preview.unread:,} rows could not be read" if preview.unread else ""
    head = f'<p class="quiet">Keeps {preview.kept:,} conversations, drops {preview.dropped:,}{unread}.</p>'
    if not preview.rows:
        return head
    rows = "".join(
        f'<tr><td class="num">{row.row:,}</td><td>{escape(", ".join(row.why))}</td><td>{escape(row.text)}</td></tr>'
        for row in preview.rows
    )
    more = preview.dropped - len(preview.rows)
    rest = f'<p class="quiet">and {more:,} more</p>' if more > 0 else ""
    return head + _table(("Row", "Why", "Begins"), rows, "Rows that cleaning drops") + rest


def turns_html(turns: Mapping[int, int]) -> str:
    """How many conversations have how many messages, as bars; the longest are added up."""
    few = dict(list(turns.items())[:8])
    rest = sum(turns.values()) - sum(few.values())
    bars = [Bar(f"{length} messages", [Part("conversations", count)]) for length, count in few.items()]
    if rest:
        bars.append(Bar("more", [Part("conversations", rest)]))
    return bar_chart(bars, "Messages in a conversation") if bars else ""


def _table(heads: Sequence[str], rows: str, label: str, wide: bool = False) -> str:
    cells = "".join(f'<th scope="col">{head}</th>' for head in heads)
    style = "data-table is-wide" if wide else "data-table"
    return (
        f'<div class="data-scroll" tabindex="0" role="region" aria-label="{label}">'
        f'<table class="{style}"><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def raw_text(raw: Any) -> str:
    """A raw row as JSON, long texts shortened."""
    return json.dumps(_shortened(raw), ensure_ascii=False, indent=2, default=str)


def messages_html(messages: Sequence[Message]) -> str:
    """A conversation, one line per message, roles in their colours and by name."""
    lines = []
    for message in messages:
        calls = message.extra.get("tool_calls")
        said = message.content + (f"\n{json.dumps(calls, ensure_ascii=False)}" if calls else "")
        role = message.role if message.role in ("system", "user", "assistant", "tool") else "control"
        text = f"<b>{escape(message.role)}</b> <span>{escape(_shortened(said))}</span>"
        lines.append(f'<li class="turn-line role-{role}">{text}</li>')
    return f'<ol class="turn-lines">{"".join(lines)}</ol>'


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _SHOWN else f"{value[:_SHOWN]}… ({len(value):,} characters)"
    if isinstance(value, Mapping):
        return {str(key): _shortened(part) for key, part in list(value.items())[:40]}
    if isinstance(value, list | tuple):
        return [_shortened(part) for part in value[:20]] + ([f"… {len(value)} in all"] if len(value) > 20 else [])
    return value
