"""Drawings of the LoRA tab: the block with its switches, the matrices to scale, the tables. Data to markup."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from components.widgets.figures import save_html
from pipelines.architecture import Architecture
from pipelines.lora import LoraCount, LoraSetup, peft_line
from pipelines.lora.block import Switch
from pipelines.lora.chapter import Claim
from pipelines.lora.counting import ModuleRow

_PLACES = (
    ("head", "Output head"),
    ("mlp", "MLP"),
    ("attention", "Attention"),
    ("embedding", "Embeddings"),
)


def size(amount: float) -> str:
    """Bytes as people say them: 27.3 MB, 141 GB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if amount >= factor:
            value = amount / factor
            return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
    return f"{amount:,.0f} B"


def figures_html(counted: LoraCount) -> str:
    """The four numbers, large, and the line that PEFT prints."""
    figures = (
        (f"{counted.trainable:,}", "trainable parameters"),
        (f"{counted.percent:.4g} %", "of all parameters"),
        (f"{counted.total:,}", "all, adapter included"),
        (size(counted.adapter_bytes), "adapter on disk"),
    )
    items = "".join(
        f'<li><span class="figure-large">{number}</span><span class="figure-label">{label}</span></li>'
        for number, label in figures
    )
    return (
        f'<ul class="data-figures">{items}</ul><p class="printed"><code>{peft_line(counted)}</code> '
        "<small>as PEFT 0.21.2 prints it</small></p>"
    )


def notes_html(notes: Sequence[str]) -> str:
    """What the chosen targets mean in this model."""
    return f'<p class="quiet">{" ".join(escape(note) for note in notes)}</p>' if notes else ""


def block_html(model: Architecture, switches: Sequence[Switch], on: Sequence[bool]) -> str:
    """The transformer block, input at the bottom; each module is a button that says whether it has an adapter."""
    parts = []
    for place, title in _PLACES:
        buttons = "".join(
            f'<button type="button" class="module{" is-on" if state else ""}" data-index="{index}" '
            f'aria-pressed="{str(state).lower()}"><b>{escape(switch.label)}</b>'
            f"<small>{escape(switch.shape)}</small></button>"
            for index, (switch, state) in enumerate(zip(switches, on, strict=True))
            if switch.place == place
        )
        parts.append(f'<div class="block-part"><span class="block-name">{title}</span><div>{buttons}</div></div>')
    layers = f'<span class="block-layers">{model.dimensions.layers} × this layer</span>'
    head, mlp, attention, embeddings = parts
    return (
        f'<div class="lora-block" role="group" aria-label="Modules of {escape(model.title)}: press to switch">'
        f'{head}<div class="block-layer">{layers}{mlp}{attention}</div>{embeddings}</div>'
    )


def matrices_html(row: ModuleRow) -> str:
    """One frozen matrix W beside its A and B, all drawn to one scale."""
    if len(row.shape) == 3:
        outputs, inputs = row.shape[1:]
    else:
        outputs, inputs = row.shape
    rank = row.rank
    unit = 150.0 / max(outputs, inputs)
    w, h, thin = inputs * unit, outputs * unit, max(rank * unit, 1.0)
    gap, top = 56.0, 26.0
    left_b = max(w + gap, 150.0)  # room for W's label
    left_a = left_b + thin + 34
    each = outputs * inputs, rank * (outputs + inputs)
    shapes = (
        f'<rect class="frozen" x="0" y="{top}" width="{w:.1f}" height="{h:.1f}"/>'
        f'<rect class="b" x="{left_b:.1f}" y="{top}" width="{thin:.1f}" height="{h:.1f}"/>'
        f'<rect class="a" x="{left_a:.1f}" y="{top}" width="{w:.1f}" height="{thin:.1f}"/>'
        f'<text x="{(w + left_b) / 2:.1f}" y="{top + h / 2:.1f}" class="plus">+</text>'
        f'<text x="0" y="16">W  {outputs:,} × {inputs:,}</text>'
        f'<text x="{left_b:.1f}" y="16">B</text><text x="{left_a:.1f}" y="16">A  {rank:,} × {inputs:,}</text>'
    )
    width, height = left_a + max(w + 8, 120.0), top + max(h, 20.0) + 6
    name = row.name.rpartition("{}.")[2]
    ratio = each[0] / each[1]
    return (
        f'<figure class="matrices" data-name="matrices"><svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="W of {outputs} by {inputs} frozen, B of {outputs} by {rank} and A of {rank} by {inputs} trained">'
        f"{shapes}</svg><figcaption><b>{escape(name)}</b>, to scale: W has {each[0]:,} numbers and stays frozen; "
        f"A and B have {each[1]:,}, {ratio:,.0f}× fewer.</figcaption>{save_html('svg', 'png')}</figure>"
        if ratio >= 1
        else f'<figure class="matrices"><figcaption><b>{escape(name)}</b>: at rank {rank:,}, A and B together have '
        f"{each[1]:,} numbers, more than W's {each[0]:,}.</figcaption></figure>"
    )


def modules_html(counted: LoraCount) -> str:
    """One row per kind of module, and the sum."""
    rows = "".join(
        f"<tr><th>{escape(row.name)}</th><td>{escape(row.how)}</td>"
        f'<td class="num">{" × ".join(f"{part:,}" for part in row.shape)}</td><td class="num">{row.rank or "–"}</td>'
        f'<td class="num">{row.trainable // row.count:,}</td><td class="num">{row.count}</td>'
        f'<td class="num">{row.trainable:,}</td></tr>'
        for row in counted.modules
    )
    return (
        '<div class="data-scroll" tabindex="0" role="region" aria-label="Trained modules"><table class="data-table">'
        "<thead><tr><th>module</th><th>how</th>"
        '<th class="num">shape</th><th class="num">rank</th><th class="num">trained in each</th>'
        f'<th class="num">layers</th><th class="num">trained</th></tr></thead><tbody>{rows}'
        f'<tr><th colspan="6">together</th><td class="num"><b>{counted.trainable:,}</b></td></tr></tbody></table></div>'
    )


def scaling_html(setup: LoraSetup, rslora: bool) -> str:
    """What alpha does, with the numbers of now."""
    rank = setup.r**0.5 if rslora else setup.r
    name = "alpha / √r" if rslora else "alpha / r"
    return (
        f'<p class="quiet">The layer computes W x + ({name}) · B A x, here {setup.alpha:g} / {rank:.3g} = '
        f"<b>{setup.alpha / rank:.3g}</b>. Alpha trains nothing; it sets how loud the adapter speaks. "
        + (
            "rsLoRA divides by √r, so that large ranks keep learning (Kalajdzievski 2023).</p>"
            if rslora
            else "Keep alpha / r when you change r, or the learning rate means something else.</p>"
        )
    )


def claims_html(claims: Sequence[Claim]) -> str:
    """The chapter's figures beside the exact ones."""
    rows = "".join(
        f"<tr><th>{escape(claim.said)}</th><td>{escape(claim.exact)}</td><td>{escape(claim.why)}</td></tr>"
        for claim in claims
    )
    return (
        '<div class="data-scroll" tabindex="0" role="region" aria-label="The chapter and the exact figures">'
        '<table class="data-table"><thead><tr><th>the chapter says</th><th>exact</th><th>why</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
