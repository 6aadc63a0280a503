"""A place of the lesson as markup, large enough for the last row. Functions from records to HTML."""

from __future__ import annotations

from html import escape

from components.widgets.experiments import conditions_html, intervals_html, running_html, verdict_line
from pipelines.experiments.records import Claim
from pipelines.experiments.reports import Report
from pipelines.experiments.service import State
from pipelines.teaching.beats import Beat

_LETTERS = "ABCDEFGH"


def beat_html(beat: Beat, claim: Claim | None = None) -> str:
    """What stands at a place, without what is measured there: that goes into its `data-part`.

    claim: of a proof, the sentence that is tested
    """
    kind = beat.place.beat
    source = f'<p class="beat-source">{escape(beat.source)}</p>' if beat.source else ""
    say = f'<p class="beat-say">{escape(beat.say)}</p>'
    inner = {
        "analogy": f"{say}<div data-part></div>",
        "predict": f'{say}{_choices(beat)}<div data-room="predict"></div>',
        "demonstration": (
            f'<h2 class="beat-title">{escape(beat.title)}</h2>{say}<div data-part></div><div data-room="outcome"></div>'
        ),
        "proof": f"{say}{_claim(claim)}<div data-part></div>",
        "remember": say,
    }[kind]
    return f'<div class="beat beat-{kind}">{inner}{source}</div>'


def proof_part(claim: Claim, state: State) -> str:
    """An experiment while it runs, and its verdict: the numbers large, everything else folded away."""
    if state.report is None:
        return running_html(claim, state)
    return _verdict(state.report, state.kept)


def fault_html(text: str) -> str:
    """Why something cannot be shown here."""
    return f'<p class="demo-limit" role="status">{escape(text)}</p>'


def _choices(beat: Beat) -> str:
    items = "".join(
        f'<li><button type="button" data-choice="{at}" aria-pressed="false"><b>{_LETTERS[at]}</b>'
        f"<span>{escape(choice)}</span></button></li>"
        for at, choice in enumerate(beat.choices)
    )
    return f'<ul class="choices" aria-label="Choices">{items}</ul>'


def _claim(claim: Claim | None) -> str:
    return f'<p class="prove-sentence">{escape(claim.claim)}</p>' if claim else ""


def _verdict(report: Report, kept: bool) -> str:
    outcome = report.outcome
    when = "measured earlier with the same models, seed and code" if kept else "measured now"
    remarks = "".join(f"<li>{escape(remark)}</li>" for remark in outcome.remarks)
    return (
        f"{verdict_line(outcome.verdict)}"
        f'<div class="prove-sides"><div><h4>Claimed</h4><p>{escape(report.claim.claimed)}</p></div>'
        f"<div><h4>Measured</h4><p>{escape(outcome.measured)}</p></div></div>"
        f"{intervals_html(outcome.arms, outcome.axis)}"
        f'<p class="demo-when">{report.seconds:.1f} s, seed {report.seed}, {when}. '
        '<button type="button" data-again>Again with the next seed</button></p>'
        f"<details><summary>The rule that was fixed in advance, and its numbers</summary>"
        f"{conditions_html(outcome.conditions)}<ul>{remarks}</ul>"
        f'<pre class="prove-command"><code>{escape(report.command)}</code></pre></details>'
    )
