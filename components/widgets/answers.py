"""Answers in columns, the proof under the base, the table of a merge, and the road from base to chat, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Protocol

from components.widgets.generation import ending_html


class Written(Protocol):
    """An answer while it grows; `stop_reason` None means that it goes on."""

    @property
    def text(self) -> str: ...
    @property
    def new_tokens(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def stop_reason(self) -> str | None: ...

    @property
    def place(self) -> int: ...


class Column(Protocol):
    """One model's column: its answer, or the sentence that says why there is none; `batch`: how many answers shared its
    passes, itself included."""

    @property
    def as_chat(self) -> bool: ...
    @property
    def completion(self) -> Written | None: ...
    @property
    def error(self) -> str: ...
    @property
    def batch(self) -> int: ...


class Proof(Protocol):
    """What shows that a base is the base; see pipelines.comparison.BaseProof."""

    @property
    def attached(self) -> int: ...
    @property
    def active(self) -> tuple[str, ...]: ...
    @property
    def largest_difference(self) -> float: ...
    @property
    def logits(self) -> int: ...


class Merge(Protocol):
    """An adapter kept and merged; see pipelines.comparison.MergeReport."""

    @property
    def adapter_bytes(self) -> int: ...
    @property
    def merged_bytes(self) -> int: ...
    @property
    def unmerged_speed(self) -> float: ...
    @property
    def merged_speed(self) -> float: ...
    @property
    def largest_difference(self) -> float: ...
    @property
    def rounded_difference(self) -> float: ...
    @property
    def largest_logit(self) -> float: ...
    @property
    def same_tokens(self) -> bool: ...
    @property
    def tokens(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def seconds(self) -> float: ...


class Link(Protocol):
    """A source, by name."""

    @property
    def title(self) -> str: ...
    @property
    def url(self) -> str: ...


class Stage(Protocol):
    """A stage of the road; see pipelines.road.RoadStage."""

    @property
    def key(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def how(self) -> str: ...
    @property
    def chapter_data(self) -> str: ...
    @property
    def chapter_cost(self) -> str: ...
    @property
    def ability(self) -> str: ...
    @property
    def exact(self) -> str: ...
    @property
    def sources(self) -> Sequence[Link]: ...


class Own(Protocol):
    """The same stage of the pair that the studio ships."""

    @property
    def data(self) -> str: ...
    @property
    def cost(self) -> str: ...
    @property
    def ability(self) -> str: ...


def answers_html(titles: Sequence[str], columns: Sequence[Column], notes: Sequence[str]) -> str:
    """A column for each answer. `notes`: markup under each, made by `proof_html` or empty."""
    cells = [_column(title, column, note) for title, column, note in zip(titles, columns, notes, strict=True)]
    return f'<div class="answers">{"".join(cells)}</div>{_together(columns)}'


def _together(columns: Sequence[Column]) -> str:
    """A line on what one batch came to, when all of it has ended; empty where no two shared a pass."""
    largest = max((column.batch for column in columns), default=0)
    written = [column.completion for column in columns if column.completion is not None]
    seconds = max((each.seconds for each in written), default=0.0)
    if largest < 2 or not seconds or any(each.stop_reason is None for each in written):
        return ""
    tokens = sum(each.new_tokens for each in written)
    return (
        f'<p class="quiet together">Up to {largest} answers shared each pass of one base; all {len(columns)} together '
        f"wrote {tokens / seconds:,.0f} tokens/s.</p>"
    )


def _column(title: str, column: Column, note: str) -> str:
    written = column.completion
    busy = not column.error and (written is None or written.stop_reason is None)
    caret = '<span class="caret" aria-hidden="true"></span>' if busy else ""
    text = escape(written.text) if written else ""
    if column.error:
        below = f'<p class="answer-error">{escape(column.error)}</p>'
    elif written is None:
        below = '<p class="quiet">is being asked …</p>'
    else:
        below = ending_html(written.new_tokens, written.seconds, written.stop_reason, written.place)
    form = "asked in its chat template" if column.as_chat else "given the bare text"
    return (
        f'<section class="answer{" answer-chat" if column.as_chat else ""}" aria-busy="{str(busy).lower()}">'
        f'<h4>{escape(title)} <small>{form}</small></h4><div class="answer-text">{text}{caret}</div>{below}{note}'
        "</section>"
    )


def proof_html(proof: Proof) -> str:
    """Two lines: which adapters took part, and how far the logits are from a fresh base."""
    held = proof.largest_difference == 0 and not proof.active
    active = ", ".join(map(escape, proof.active)) or "none"
    shared = f" of {proof.attached} attached" if proof.attached else ""
    kind, verdict = ("good", "✓ It is the base.") if held else ("bad", "✗ It is not the base.")
    return (
        f'<p class="proof {kind}"><b>{verdict}</b> '
        f"Active adapters: {active}{shared}. Largest logit difference to a base read from disk just now: "
        f"{_difference(proof.largest_difference)}, over {proof.logits:,} logits.</p>"
    )


def merge_html(merge: Merge, name: str) -> str:
    """The measured table of keeping against merging."""
    rows = [
        ("On disk, for each behaviour", _size(merge.adapter_bytes), _size(merge.merged_bytes)),
        ("Speed of one stream", f"{merge.unmerged_speed:,.0f} tokens/s", f"{merge.merged_speed:,.0f} tokens/s"),
        (f"Largest logit difference, {merge.dtype}", "0 (it is the reference)", _difference(merge.largest_difference)),
        ("The same, stored in bfloat16", "—", _difference(merge.rounded_difference)),
    ]
    body = "".join(
        f'<tr><th scope="row">{what}</th><td class="num">{kept}</td><td class="num">{merged}</td></tr>'
        for what, kept, merged in rows
    )
    agree = "write the same" if merge.same_tokens else "do not write the same"
    noun = "token" if merge.tokens == 1 else "tokens"
    return (
        f'<table class="data-table merge"><thead><tr><th scope="col">{escape(name)}</th>'
        '<th scope="col" class="num">kept beside the base</th>'
        '<th scope="col" class="num">merged into it</th></tr></thead>'
        f"<tbody>{body}</tbody></table>"
        f'<p class="quiet">Logits reach {merge.largest_logit:.1f}; greedy, both {agree} {merge.tokens} {noun}. '
        f"Measured in {merge.seconds:.1f} s.</p>"
    )


def refused_html(reasons: Sequence[str]) -> str:
    """Adapters of the models directory that are not offered, each with the reason, folded away."""
    noun = "adapter" if len(reasons) == 1 else "adapters"
    items = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
    return f'<details class="refused"><summary>{len(reasons)} {noun} not offered</summary><ul>{items}</ul></details>'


def road_html(stages: Sequence[Stage], own: Mapping[str, Own]) -> str:
    """The stages as a table: the chapter's figures, a published run, and the pocket pair where it has been measured."""
    body = "".join(_stage(stage, own.get(stage.key)) for stage in stages)
    return (
        '<div class="data-scroll"><table class="data-table road"><thead><tr><th scope="col">Model</th>'
        '<th scope="col">Data</th><th scope="col">Cost</th><th scope="col">What it can do</th>'
        '<th scope="col">For comparison</th></tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _stage(stage: Stage, own: Own | None) -> str:
    links = ", ".join(
        f'<a href="{escape(source.url)}" target="_blank" rel="noopener">{escape(source.title)}</a>'
        for source in stage.sources
    )
    chapter = (
        f'<tr><th scope="row">{escape(stage.title)}<small>{escape(stage.how)}</small></th>'
        f"<td>{escape(stage.chapter_data)}</td><td>{escape(stage.chapter_cost)}</td><td>{escape(stage.ability)}</td>"
        f"<td>{escape(stage.exact)}<small>{links}</small></td></tr>"
    )
    if own is None:
        return chapter
    return chapter + (
        '<tr class="road-own"><th scope="row">pocket<small>measured</small></th>'
        f'<td>{escape(own.data)}</td><td>{escape(own.cost)}</td><td colspan="2">{escape(own.ability)}</td></tr>'
    )


def _difference(value: float) -> str:
    return "0" if value == 0 else f"{value:.2g}"


def _size(count: int) -> str:
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= step:
            return f"{count / step:.3g} {unit}"
    return f"{count} B"
