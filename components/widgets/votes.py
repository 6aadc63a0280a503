"""A blind vote as markup: the question with its answers and buttons, and the tally of the room. All text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from components.widgets.experiments import intervals_html
from pipelines.blind_vote import LETTERS, TIE, BlindView, Standing
from pipelines.experiments.records import Arm

# For gr.HTML(js_on_load=…) that holds buttons with `data-vote`: `press` carries what was pressed, and who did.
VOTE = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-vote]");
  if (!button || !element.contains(button)) return;
  const {vote, round} = button.dataset;
  trigger("press", {vote, round: Number(round), visitor: studioVisitor()});
});
"""
REVEAL, RESET = "reveal", "reset"


def round_html(view: BlindView) -> str:
    """The question of the moment, with letters in place of names as long as the visitor may not know them."""
    head = (
        f'<h4 class="vote-title">Blind vote · question {view.number}</h4>'
        f'<p class="vote-question">{escape(view.question)}</p>'
    )
    if view.stage == "writing":
        return (
            f'<div class="vote">{head}<p class="quiet" role="status">{view.models} models are writing; their answers '
            "appear together, in a random order, without names.</p></div>"
        )
    cells = "".join(_answer(view, place) for place in range(len(view.texts)))
    return f'<div class="vote">{head}<div class="answers">{cells}</div>{_below(view)}</div>'


def tally_html(view: BlindView | None, standings: Sequence[Standing], ties: int) -> str:
    """How many have voted; and the room's tally over all questions, for whom the names are no secret any more."""
    if view is None or view.stage == "writing":
        return ""
    said = f"{_votes(view.votes)} on this question"
    if not view.open:
        reveal = _button(view, REVEAL, "Reveal to all") if view.mine else ""
        return (
            f'<div class="vote-state"><p class="quiet" role="status">{said}. The names and the tally show when you '
            f"have voted.</p>{reveal}</div>"
        )
    arms = [
        Arm(one.title, one.share, one.low, one.high, one.votes, f"{one.wins} of {_votes(one.votes)}")
        for one in standings
    ]
    body = intervals_html(arms, "share of the votes, over all questions") if arms else ""
    tied = f" {ties} {'was a tie' if ties == 1 else 'were ties'}." if ties else ""
    buttons = _button(view, REVEAL, "Reveal to all") if view.mine and view.stage == "voting" else ""
    buttons += _button(view, RESET, "New tally") if view.mine else ""
    return (
        f'<h4 class="vote-title">The tally of the room</h4>{body}'
        f'<div class="vote-state"><p class="quiet" role="status">{said}.{tied}</p>{buttons}</div>'
    )


def _answer(view: BlindView, place: int) -> str:
    letter, text = LETTERS[place], view.texts[place]
    said = escape(text) if text else '<span class="quiet">nothing</span>'
    if view.open:
        mine = " · your vote" if view.choice == place else ""
        name = f"{letter} · {escape(view.names[place])} <small>{_votes(view.counts[place])}{mine}</small>"
        below, style = "", " is-chosen" if view.choice == place else ""
    else:
        name, style = f"{letter} <small>who wrote this?</small>", ""
        below = _button(view, str(place), f"{letter} is best")
    return f'<section class="answer{style}"><h4>{name}</h4><div class="answer-text">{said}</div>{below}</section>'


def _below(view: BlindView) -> str:
    if not view.open:
        return f'<p class="vote-tie">{_button(view, str(TIE), "A tie: none is best")}</p>'
    parts = []
    if view.ties:
        parts.append(f"{_votes(view.ties)} for a tie{', yours among them' if view.choice == TIE else ''}.")
    if view.failed:
        parts.append(f"Without an answer: {', '.join(map(escape, view.failed))}.")
    if view.stage == "revealed":
        parts.append("The vote is closed.")
    return f'<p class="quiet">{" ".join(parts)}</p>' if parts else ""


def _button(view: BlindView, vote: str, label: str) -> str:
    return (
        f'<button type="button" class="vote-button" data-vote="{vote}" data-round="{view.number}">{escape(label)}'
        "</button>"
    )


def _votes(count: int) -> str:
    return f"{count} vote" if count == 1 else f"{count} votes"
