"""Drawings of the LoRA tab's experiments: a real weight change, the model rebuilt from it, layers, sums of adapters."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from components.widgets.charts import Bar, Part, Series, bar_chart, line_chart
from pipelines.lora.low_rank import WeightChange

if TYPE_CHECKING:
    from pipelines.lora.arithmetic import Arithmetic
    from pipelines.lora.layer import FirstStep
    from pipelines.lora.rebuild import Rebuilt


def change_html(change: WeightChange, r: int) -> str:
    """How much of a weight change its first directions keep, with the chosen rank marked in words."""
    full = len(change.kept) - 1
    r = min(r, full)
    if change.relative == 0:
        return f'<p class="quiet">{escape(change.name)} is the same in both models: nothing changed here.</p>'
    chart = line_chart(
        [
            Series("ΔW, the change", [(index, 100 * share) for index, share in enumerate(change.kept)]),
            Series("W itself", [(index, 100 * share) for index, share in enumerate(change.base_kept)]),
        ],
        f"Share of the squared norm in the first directions of {change.name}",
        x_label="directions kept (rank)",
        y_format=lambda value: f"{value:.0f} %",
        y_range=(0.0, 100.0),
    )
    return (
        f'<ul class="data-figures"><li><span class="figure-large">{100 * change.kept[r]:.0f} %</span>'
        f'<span class="figure-label">of the change in its first {r} of {full} directions</span></li>'
        f'<li><span class="figure-large">{change.effective_rank:.0f}</span>'
        '<span class="figure-label">effective rank of the change</span></li>'
        f'<li><span class="figure-large">{100 * change.relative:.2g} %</span>'
        '<span class="figure-label">size of the change against the weight</span></li></ul>'
        f"{chart}{_verdict(change, full)}"
    )


def _verdict(change: WeightChange, full: int) -> str:
    """What the effective rank says about LoRA's assumption, in this matrix."""
    if change.effective_rank > full / 4:
        return (
            '<p class="quiet">This change is not of low rank. A LoRA that does as well has not copied it, but found '
            "another, narrower one.</p>"
        )
    return '<p class="quiet">This change is of low rank: few directions hold nearly all of it.</p>'


def ranks_html(changes: Sequence[WeightChange]) -> str:
    """Effective rank of every matrix's change: one row per module, one column per layer."""
    places = {change.name: _place(change.name) for change in changes}
    layers = sorted({layer for layer, _ in places.values()})
    modules = list(dict.fromkeys(module for _, module in places.values()))
    by_place = {places[change.name]: change for change in changes}
    rows = "".join(
        f"<tr><th>{escape(module)}</th>"
        + "".join(
            f'<td class="num">{found.effective_rank:.0f}<small> of {min(found.shape)}</small></td>'
            if (found := by_place.get((layer, module)))
            else "<td></td>"
            for layer in layers
        )
        + "</tr>"
        for module in modules
    )
    head = "".join(f'<th class="num">layer {layer}</th>' for layer in layers)
    return (
        '<div class="data-scroll" tabindex="0" role="region" aria-label="Effective rank of every change">'
        f'<table class="data-table"><thead><tr><th>effective rank of ΔW</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _place(name: str) -> tuple[int, str]:
    """model.layers.3.mlp.up_proj.weight → (3, "up_proj")"""
    parts = name.split(".")
    return int(parts[parts.index("layers") + 1]), parts[-2]


def rebuilt_html(points: Sequence[Rebuilt], r: int | None) -> str:
    """Accuracy of the rebuilt model at every rank that was measured; `r` is the one just asked for."""
    if not points:
        return '<p class="quiet">Nothing measured yet.</p>'
    chosen = next((point for point in points if point.r == r), points[-1])
    bars = [
        Bar(f"r = {point.r}", [Part("right answers", point.accuracy)], f"{point.stopped:.0%} ended by themselves")
        for point in points
    ]
    return (
        f'<ul class="data-figures"><li><span class="figure-large">{chosen.accuracy:.1%}</span>'
        f'<span class="figure-label">right at rank {chosen.r}, of {chosen.rows} held-out questions</span></li>'
        f'<li><span class="figure-large">{chosen.stopped:.1%}</span>'
        '<span class="figure-label">of the answers end by themselves</span></li></ul>'
        + bar_chart(bars, "Right answers by rank, measured", value_format=lambda share: f"{share:.1%}", maximum=1.0)
        + f'<p class="quiet">A share of {chosen.rows} questions is uncertain by {_uncertainty(chosen):.0f} points. '
        "Rank 0 keeps the base's matrices and takes only the norms; full rank is the instruct model.</p>"
    )


def _uncertainty(point: Rebuilt) -> float:
    """Half of the 95 % interval of the share, in percentage points (normal approximation)."""
    return 196 * float(max(point.accuracy * (1 - point.accuracy), 0.01) / point.rows) ** 0.5


def first_steps_html(steps: Sequence[FirstStep]) -> str:
    """What the model says before any training, with each version of the layer."""
    rows = "".join(
        f'<tr><th>{escape(step.name)}</th><td class="num">{step.difference:.3g}</td>'
        f'<td><code>{escape(step.next_token)}</code></td><td class="num">{step.loss:.3f}</td>'
        f'<td class="num">{step.gradient_a:.3g}</td><td class="num">{step.gradient_b:.3g}</td></tr>'
        for step in steps
    )
    return (
        '<div class="data-scroll" tabindex="0" role="region" aria-label="The layer before any training">'
        '<table class="data-table"><thead><tr><th>before any training</th>'
        '<th class="num">largest logit difference</th><th>next token</th>'
        '<th class="num">loss of “ Paris.”</th><th class="num">gradient of A</th><th class="num">gradient of B</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
        '<p class="quiet">With B = 0 the model is the base to the last bit, and it learns all the same: the first step '
        "moves B, and from then on A has a gradient, too.</p>"
    )


def arithmetic_html(result: Arithmetic, rslora: bool) -> str:
    """Merging one adapter, and adding two up, as errors against the matrices themselves."""
    scale = "alpha / √r" if rslora else "alpha / r"
    other = "alpha / r" if rslora else "alpha / √r"
    merging = "".join(
        f'<tr><th>{name}</th><td class="num">{_percent(error)}</td></tr>'
        for name, error in (
            (f"PEFT: W + ({scale}) · B A, here {result.scaling:.3g} · B A", result.merged),
            ("W + B A, the scaling forgotten", result.unscaled),
            (f"W + ({other}) · B A, the scaling of the other kind", result.misread),
        )
    )
    methods = {
        "linear": "A and B added up each by itself: cross terms B₁A₂ and B₂A₁ come with it",
        "cat": "A and B set side by side: exact, and the rank is the sum of both",
        "svd": "the exact sum, cut back to the rank of one",
    }
    adding = "".join(
        f'<tr><th><code>{one.method}</code></th><td>{methods[one.method]}</td><td class="num">{one.rank}</td>'
        f'<td class="num">{_percent(one.error)}</td>'
        + (f'<td class="num">{_percent(one.unscaled)}</td>' if rslora else "")
        + "</tr>"
        for one in result.combinations
    )
    repaired = '<th class="num">with scaling set to 1</th>' if rslora else ""
    warning = (
        f'<p class="quiet">With rsLoRA, PEFT 0.21.2 makes the sum √r times too loud ({result.rank**0.5:.3g}× at rank '
        f"{result.rank}): it sets alpha to the new rank, for which alpha / r is 1, but keeps the division by √r.</p>"
        if rslora
        else ""
    )
    return (
        '<div class="data-scroll" tabindex="0" role="region" aria-label="Merging one adapter">'
        '<table class="data-table"><thead><tr><th>merging one adapter</th><th class="num">error of the change</th></tr>'
        f"</thead><tbody>{merging}</tbody></table></div>"
        '<div class="data-scroll" tabindex="0" role="region" aria-label="Adding two adapters up">'
        '<table class="data-table"><thead><tr><th>add_weighted_adapter</th><th>what it does</th>'
        f'<th class="num">rank</th><th class="num">error against w₁ΔW₁ + w₂ΔW₂</th>{repaired}</tr></thead>'
        f"<tbody>{adding}</tbody></table></div>{warning}"
    )


def _percent(share: float) -> str:
    return "0" if share < 1e-5 else f"{share:.1%}"
