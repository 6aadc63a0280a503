"""An experiment as markup: the claim, the arms with their intervals, the verdict. Functions from records to HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from components.widgets.figures import figure_html, save_html
from pipelines.experiments.records import FAILS, HOLDS, OPEN, Arm, Claim, Condition, Verdict
from pipelines.experiments.reports import Report
from pipelines.experiments.service import State

_MARKS: dict[Verdict, tuple[str, str]] = {HOLDS: ("is-holds", "✓"), FAILS: ("is-fails", "✗"), OPEN: ("is-open", "?")}


def claim_html(claim: Claim) -> str:
    """What is claimed, what is expected here, and what will settle it: before anything runs."""
    rows = [
        ("Expected here", claim.hypothesis),
        ("Verdict", claim.rule),
        ("Said by", claim.source),
    ]
    items = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in rows)
    return (
        f'<div class="prove-claim"><p class="prove-sentence">{escape(claim.claim)}</p><dl>{items}</dl>'
        f'<p class="quiet">Runs on the loaded pair, on this machine’s CPU, in at most {claim.budget:.0f} seconds on '
        f"two quiet cores.</p></div>"
    )


def running_html(claim: Claim, state: State) -> str:
    """Where an experiment stands, in words, with what was measured so far."""
    if state.status == "waiting":
        ahead = "the next in the queue" if state.place <= 1 else f"place {state.place} in the queue"
        return f'<p class="prove-state" role="status">Waiting: {ahead}. One experiment runs at a time.</p>'
    says = state.progress.says if state.progress else "starting"
    share = state.progress.fraction if state.progress else 0.0
    arms = state.progress.arms if state.progress else ()
    return (
        f'<p class="prove-state" role="status">{escape(says[:1].upper() + says[1:])} · {state.seconds:.0f} s</p>'
        f'<div class="prove-bar" role="progressbar" aria-label="Progress" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{100 * share:.0f}"><span style="width:{100 * share:.1f}%"></span></div>'
        f"{intervals_html(arms) if arms else ''}"
    )


def verdict_html(report: Report, kept: bool = False) -> str:
    """The verdict with the claimed number beside the measured one, the arms, the rule as numbers, and the script."""
    outcome, claim = report.outcome, report.claim
    figures = "".join(
        f'<li><span class="prove-value">{escape(value)}</span><span class="figure-label">{escape(name)}</span></li>'
        for name, value in outcome.figures
    )
    remarks = "".join(f"<li>{escape(remark)}</li>" for remark in outcome.remarks)
    when = "measured earlier with the same models, seed and code" if kept else "measured now"
    return (
        f'<div data-name="{claim.stage}" data-title="{escape(claim.claim)}">{verdict_line(outcome.verdict)}'
        f'<div class="prove-sides"><div><h4>Claimed</h4><p>{escape(claim.claimed)}</p></div>'
        f"<div><h4>Measured</h4><p>{escape(outcome.measured)}</p></div></div>"
        f'{intervals_html(outcome.arms, outcome.axis)}<div data-slide="no">{conditions_html(outcome.conditions)}'
        f"{f'<ul class=prove-figures>{figures}</ul>' if figures else ''}"
        f"{f'<ul class=prove-remarks>{remarks}</ul>' if remarks else ''}"
        f'{save_html(copy="Copy the verdict as slide")}<p class="quiet">{report.seconds:.1f} s, seed {report.seed}, '
        f"{when}. The same outside the studio:</p>"
        f'<pre class="prove-command"><code>{escape(report.command)}</code></pre></div></div>'
    )


def verdict_line(verdict: Verdict) -> str:
    """The verdict in large type, with its mark."""
    style, mark = _MARKS[verdict]
    said = escape(verdict[:1].upper() + verdict[1:])
    return f'<p class="prove-verdict {style}" role="status"><span aria-hidden="true">{mark}</span> {said}</p>'


def intervals_html(arms: Sequence[Arm], axis: str = "") -> str:
    """A row for each arm: a dot at its number and a line over its 95 % interval, on an axis from 0 to 1."""
    rows = []
    for arm in arms:
        left, right = (100 * min(1.0, max(0.0, end)) for end in (arm.low, arm.high))
        at = 100 * min(1.0, max(0.0, arm.value))
        text = f"{arm.value:.0%}"
        note = f"<small>{escape(arm.note)}</small>" if arm.note else ""
        rows.append(
            f'<li class="arm"><span class="arm-name">{escape(arm.name)}{note}</span>'
            f'<span class="arm-track" role="img" aria-label="{text}, 95 % interval {arm.low:.0%} to {arm.high:.0%}, '
            f'{arm.count} samples"><svg viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true">'
            f'<g class="grid">{_GRID}</g>'
            f'<line class="whisker" x1="{left:.2f}" x2="{right:.2f}" y1="10" y2="10"/></svg>'
            f'<span class="dot s1" style="left:{at:.2f}%"></span></span>'
            f'<span class="arm-value">{text} <small>{100 * arm.low:.0f}–{100 * arm.high:.0f}</small></span></li>'
        )
    ends = '<li class="arm arm-axis" aria-hidden="true"><span></span><span class="arm-ticks">'
    ends += "".join(f'<span style="left:{at}%">{at} %</span>' for at in (0, 50, 100)) + "</span><span></span></li>"
    title = f"{axis[:1].upper() + axis[1:] or 'So far'}, with 95 % intervals"
    numbers = [(arm.name, arm.value, arm.low, arm.high, arm.count) for arm in arms]
    columns = ("arm", axis or "value", "95 % interval, low", "high", "samples")
    return figure_html("arms", title, f"<ul>{''.join(rows)}{ends}</ul>", columns, numbers)


_GRID = "".join(f'<line x1="{at}" x2="{at}" y1="0" y2="20"/>' for at in (0, 25, 50, 75, 100))


def conditions_html(conditions: Sequence[Condition]) -> str:
    """The rule that was fixed in advance, each part with its number."""
    rows = "".join(
        f'<tr class="{_MARKS[one.verdict][0]}"><th scope="row"><span class="prove-mark" role="img" '
        f'aria-label="{escape(_short(one.verdict))}">{_MARKS[one.verdict][1]}</span> {escape(one.says)}</th>'
        f"<td>{_number(one.value)}{_interval(one)}</td><td>{one.sense} {_number(one.bound)}</td></tr>"
        for one in conditions
    )
    return (
        '<div class="data-scroll prove-rule"><table class="data-table"><thead><tr><th scope="col">Part of the rule</th>'
        '<th scope="col">Measured</th><th scope="col">Needed</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _short(verdict: Verdict) -> str:
    return "not decided" if verdict == OPEN else verdict


def _interval(one: Condition) -> str:
    return (
        ""
        if one.low == one.high or one.value != one.value
        else f" <small>{_number(one.low)} to {_number(one.high)}</small>"
    )


def _number(value: float) -> str:
    """0.25 · −0.03 · 2.5e-07 · 12; a minus sign as typeset."""
    if value != value:
        return "not a number"
    text = f"{value:.0e}" if 0 < abs(value) < 0.001 else f"{value:.3f}".rstrip("0").rstrip(".")
    return text.replace("-", "−") if not text.startswith("-0.") or float(text) else "0"
