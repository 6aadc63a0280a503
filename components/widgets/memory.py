"""Drawings of the QLoRA tab: stacked bars, tables, the scatter, the levels over a layer. Data to markup."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from components.widgets.charts import Bar, Part, bar_chart, ticks
from components.widgets.figures import figure_html
from pipelines.memory import MOMENTS, Cost, Estimate, Fit
from pipelines.memory.loaded import LoadedBytes
from pipelines.memory.measured import Accuracy, Comparison
from pipelines.memory.nf4 import BINS, LayerCloseUp

METHOD_TITLES = {"full": "Full", "lora": "LoRA", "qlora": "QLoRA"}
_GIB = 2**30
_MARKS = (("RTX 4090", 24), ("A100 40 GB", 40), ("H100", 80))  # familiar cards, drawn where they fit the axis


def gib(amount: float) -> str:
    """Bytes in GiB, as GPUs are sold."""
    value = amount / _GIB
    if amount and value < 0.1:
        return f"{amount / 2**20:,.0f} MiB" if amount >= 2**20 else f"{amount / 1024:,.0f} KiB"
    return f"{value:,.0f} GiB" if value >= 100 else f"{value:.1f} GiB"


def figures_html(result: Estimate, trained: str) -> str:
    """The peak, large, and the moment when it is reached."""
    others = [term for term in result.terms if term.size]
    largest = max(others, key=lambda term: term.size)
    figures = (
        (gib(result.total), f"on each GPU, {METHOD_TITLES[result.setup.method]}"),
        (trained, "trained parameters"),
        (f"{100 * largest.size / result.total:.0f} %", f"of it {largest.title.lower()}"),
    )
    items = "".join(
        f'<li><span class="figure-large">{number}</span><span class="figure-label">{escape(label)}</span></li>'
        for number, label in figures
    )
    return (
        f'<ul class="data-figures memory-figures">{items}</ul>'
        f'<p class="quiet">The peak comes {MOMENTS[result.moment]}.</p>'
    )


def bars_html(results: Sequence[Estimate]) -> str:
    """One stacked bar per method; each part says its formula on hover and focus."""
    top = max(result.total for result in results)
    bars = [
        Bar(
            METHOD_TITLES[result.setup.method],
            [Part(term.title, term.size, term.formula) for term in result.terms],
        )
        for result in results
    ]
    marks = [(name, size * _GIB) for name, size in _MARKS if size * _GIB <= top]
    return bar_chart(bars, "Memory of one GPU at the peak", value_format=gib, marks=marks)


def terms_html(result: Estimate) -> str:
    """Every term of one method: at the peak, the most it takes at any moment, and its rule."""
    rows = "".join(
        f'<tr><th>{escape(term.title)}</th><td class="num">{gib(term.size)}</td>'
        f'<td class="num">{gib(term.largest)}</td><td class="term-formula">{escape(term.formula)}</td></tr>'
        for term in result.terms
    )
    return _scroll(
        "Terms of the estimate",
        '<thead><tr><th>term</th><th class="num">at the peak</th><th class="num">at most</th><th>formula</th></tr>'
        f'</thead><tbody>{rows}<tr><th>together</th><td class="num"><b>{gib(result.total)}</b></td>'
        "<td></td><td></td></tr></tbody>",
    )


def gpus_html(fits: Sequence[Fit], costs: Sequence[Cost | None], tokens: float) -> str:
    """The GPUs: whether one holds the run, how many do, and what the run takes there."""
    rows = []
    for fit, cost in zip(fits, costs, strict=True):
        gpu = fit.gpu
        price = "–" if gpu.usd_per_hour is None else f"${gpu.usd_per_hour:.2f}"
        source = f"<small>{escape(_short(gpu.price_source))}, {gpu.price_date}</small>" if gpu.price_date else ""
        if fit.fits:
            verdict = f'<span class="fits-yes">✓ fits{f" on {fit.count}" if (fit.count or 1) > 1 else ""}</span>'
        elif fit.count:
            verdict = f'<span class="fits-no">{fit.count} with FSDP</span>'
        else:
            verdict = '<span class="fits-no">✗ too small</span>'
        run = "–" if cost is None else _hours(cost.hours)
        money = "–" if cost is None or cost.usd is None else f"${cost.usd:,.2f}"
        rows.append(
            f'<tr><th>{escape(gpu.title)}</th><td class="num">{gpu.gib:g} GiB</td><td>{verdict}</td>'
            f'<td class="num">{gpu.tflops:g} {gpu.precision}</td><td class="num">{gpu.bandwidth:,.0f} GB/s</td>'
            f'<td class="num">{price}{source}</td><td class="num">{run}</td><td class="num">{money}</td></tr>'
        )
    return _scroll(
        "GPUs",
        '<thead><tr><th>GPU</th><th class="num">memory</th><th>this run</th><th class="num">dense TFLOP/s</th>'
        '<th class="num">bandwidth</th><th class="num">per hour</th>'
        f'<th class="num">time for {_millions(tokens)}</th><th class="num">cost</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody>",
    )


def scatter_html(rows: Sequence[Comparison], score: Accuracy) -> str:
    """Estimated against measured on two logarithmic axes, the line of equality, and the errors in words."""
    values = [value / _GIB for row in rows for value in (row.measured, row.estimated)]
    low, high = math.log10(min(values) / 1.2), math.log10(max(values) * 1.2)

    def place(value: float) -> float:
        return 100 * (math.log10(value) - low) / (high - low)

    dots = "".join(
        f'<span class="dot role-{escape(row.role)}" tabindex="0" role="img" aria-label="{escape(_in_words(row))}" '
        f'style="left:{place(row.measured / _GIB):.2f}%;bottom:{place(row.estimated / _GIB):.2f}%" '
        f'data-note="{escape(_in_words(row))}"></span>'
        for row in rows
    )
    marks = [value for value in (5, 10, 20, 50) if 10**low <= value <= 10**high]
    written = "".join(
        f'<span class="tick-y" style="bottom:{place(value):.2f}%">{value}</span>'
        f'<span class="tick-x" style="left:{place(value):.2f}%">{value}</span>'
        for value in marks
    )
    worst = score.worst
    return (
        f'<ul class="data-figures"><li><span class="figure-large">{score.median:.1%}</span>'
        f'<span class="figure-label">median error over {score.rows} published figures</span></li>'
        f'<li><span class="figure-large">{score.p90:.1%}</span>'
        '<span class="figure-label">nine in ten are within</span></li>'
        f'<li><span class="figure-large">{worst.error:+.0%}</span>'
        f'<span class="figure-label">worst: {escape(worst.key)}</span></li></ul>'
        + figure_html(
            "chart scatter",
            "Estimated against measured peak, GiB, logarithmic",
            '<div class="plot" role="group" aria-label="Estimated against measured peaks">'
            '<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">'
            f'<line class="ideal" x1="0" y1="100" x2="100" y2="0"/></svg>{dots}{written}</div>'
            '<p class="axis-label">measured</p>',
            ("run", "measured, bytes", "estimated, bytes", "role", "source"),
            [(row.key, row.measured, row.estimated, row.role, row.source) for row in rows],
            '<ul class="chart-legend"><li><span class="swatch s1"></span>scored</li><li><span class="swatch s2"></span>'
            'set the constants</li><li><span class="swatch s8"></span>not scored</li></ul>',
        )
        + f'<p class="quiet">The worst row: {escape(worst.note or worst.key)}. '
        "Sources: torchtune's README, LLaMA-Factory's wiki and Answer.AI's FSDP-QLoRA benchmarks; each dot says its "
        "own.</p>"
    )


def close_up_html(layer: LayerCloseUp, name: str) -> str:
    """The histogram of a layer's blocks under the sixteen levels of NF4, and what each type loses."""
    top = max(layer.histogram)
    width = 100 / BINS
    bars = "".join(
        f'<rect x="{index * width:.3f}" y="{100 * (1 - share / top):.2f}" width="{width * 0.92:.3f}" '
        f'height="{100 * share / top:.2f}"/>'
        for index, share in enumerate(layer.histogram)
    )
    nf4 = layer.types[0]
    lines = "".join(
        f'<line x1="{50 * (level + 1):.2f}" x2="{50 * (level + 1):.2f}" y1="0" y2="100"/>' for level in nf4.levels
    )
    labels = "".join(
        f'<span class="tick-x" style="left:{50 * (level + 1):.2f}%">{level:g}</span>' for level in ticks(-1, 1)
    )
    rows = "".join(
        f'<tr><th>{kind.name.upper()}</th><td class="num">{100 * kind.relative:.2f} %</td>'
        f'<td class="num">{kind.used} of 16</td>'
        f"<td><small>{' '.join(f'{level:.3f}' for level in kind.levels)}</small></td></tr>"
        for kind in layer.types
    )
    shape = " × ".join(f"{part:,}" for part in layer.shape)
    low, middle, high = layer.absmax
    return (
        figure_html(
            "chart levels",
            f"{name}, {shape}: {layer.blocks:,} blocks of 64, each divided by its largest magnitude; the lines are "
            "NF4's sixteen levels",
            f'<div class="plot" role="img" aria-label="Histogram of {escape(name)} under the sixteen levels of NF4">'
            f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{bars}{lines}</svg>{labels}'
            "</div>",
            ("from", "to", "share of the weights"),
            [(2 * at / BINS - 1, 2 * (at + 1) / BINS - 1, share) for at, share in enumerate(layer.histogram)],
        )
        + _scroll(
            "Error of the 4-bit types",
            '<thead><tr><th>type</th><th class="num">error</th><th class="num">levels used</th><th>levels</th></tr>'
            f"</thead><tbody>{rows}</tbody>",
        )
        + f'<p class="quiet">The blocks\' largest magnitudes lie between {low:.3g} and {high:.3g}, half of them below '
        f"{middle:.3g}. In fp32 they take {layer.plain_bytes:,} bytes; quantized once more, {layer.double_bytes:,}: "
        f"{8 * (layer.plain_bytes - layer.double_bytes) / (layer.blocks * 64):.3f} bits per weight saved.</p>"
    )


def _scroll(label: str, table: str) -> str:
    return (
        f'<div class="data-scroll" tabindex="0" role="region" aria-label="{escape(label)}">'
        f'<table class="data-table">{table}</table></div>'
    )


def _in_words(row: Comparison) -> str:
    setup = row.setup
    lines = [
        f"{setup.model}, {METHOD_TITLES[setup.method]}, batch {setup.batch} × {setup.seq_len:,} tokens",
        f"measured {gib(row.measured)} ({row.measure}), estimated {gib(row.estimated)}: {row.error:+.1%}",
        *([row.note] if row.note else []),
        row.source,
    ]
    return "\n".join(lines)


def _short(source: str) -> str:
    return source.partition(", http")[0]


def _hours(hours: float) -> str:
    if hours < 1:
        return f"{max(1, round(60 * hours))} min"
    return f"{hours:,.1f} h" if hours < 100 else f"{hours / 24:,.0f} days"


def _millions(tokens: float) -> str:
    return f"{tokens / 1e6:,.4g}M tokens"


def loaded_html(rows: Sequence[LoadedBytes], loading: str) -> str:
    """What a loaded model takes beside the estimate, in bytes; `loading` names what is still on its way."""
    lines = "".join(
        f'<tr><th>{escape(row.title)}</th><td class="num">{row.estimated:,}</td><td class="num">{row.measured:,}</td>'
        f'<td class="num">{_difference(row)}</td></tr>'
        for row in rows
    )
    table = (
        '<div class="data-scroll" tabindex="0" role="region" aria-label="Bytes of the loaded base">'
        '<table class="data-table"><thead><tr><th>loaded in</th><th class="num">estimated, bytes</th>'
        f'<th class="num">measured, bytes</th><th class="num">difference</th></tr></thead><tbody>{lines}</tbody>'
        "</table></div>"
    )
    wait = f'<p class="quiet">Loading it in {escape(loading)} …</p>' if loading else ""
    return (table if rows else "") + wait


def _difference(row: LoadedBytes) -> str:
    return "none" if row.measured == row.estimated else f"{row.measured - row.estimated:+,}"
