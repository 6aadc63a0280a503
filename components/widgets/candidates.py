"""What a model wrote and what the filters said of it, as markup. All text is escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from components.widgets.datasets import figures_html
from pipelines.data.self_instruct import Candidate


def candidates_html(candidates: Sequence[Candidate]) -> str:
    """Counts, the reasons with how often they struck, and each candidate with its verdict, kept ones first."""
    if not candidates:
        return '<p class="quiet">The model wrote nothing that is a line.</p>'
    kept = [candidate for candidate in candidates if not candidate.why]
    reasons = Counter(candidate.why.partition(":")[0] for candidate in candidates if candidate.why)
    figures = [(f"{len(candidates):,}", "written"), (f"{len(kept):,}", "kept")]
    figures += [(f"{count:,}", reason) for reason, count in reasons.most_common()]
    ordered = [*kept, *(candidate for candidate in candidates if candidate.why)]
    rows = "".join(_row(candidate) for candidate in ordered)
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("Instruction", "Answer", "Verdict"))
    return (
        f"{figures_html(figures)}"
        '<div class="data-scroll" tabindex="0" role="region" aria-label="What the model wrote">'
        f'<table class="data-table"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _row(candidate: Candidate) -> str:
    verdict = escape(candidate.why) or f"<b>kept</b>, ROUGE-L {candidate.rouge:.2f}"
    near = f"<small>nearest: {escape(candidate.near)}</small>" if candidate.near else ""
    return (
        f"<tr><td>{escape(candidate.instruction)}</td><td>{escape(candidate.answer)}</td><td>{verdict}{near}</td></tr>"
    )
