"""The blind vote of the room: one question for all who have the tab open, drawn where they stand, counted once each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import gradio as gr

from components.errors import shows_input_errors
from components.frame import StageFrame
from components.pressed import detail, number_of
from components.visitors import known_visitor
from components.widgets.votes import RESET, REVEAL, VOTE, round_html, tally_html
from pipelines.blind_vote import BlindVote
from pipelines.errors import InputError

LOOK = 1.0  # seconds between two looks of a page at the vote


@dataclass(frozen=True, slots=True)
class Ballot:
    """The vote's components. `seen`: a digest of what a page shows, so that a look that finds nothing new is short."""

    question: gr.HTML
    tally: gr.HTML
    seen: gr.Textbox

    @property
    def outputs(self) -> list[gr.components.Component]:
        return [self.seen, self.question, self.tally]


def draw(frame: StageFrame, vote: BlindVote) -> Ballot:
    """The question and the tally, empty as long as nobody has asked blind."""
    question = gr.HTML("", js_on_load=VOTE, elem_id="blind-question")
    tally = gr.HTML("", js_on_load=VOTE, elem_id="blind-tally")
    ballot = Ballot(question, tally, gr.Textbox("", visible=False))
    timer = gr.Timer(LOOK, active=False)  # nobody looks before the tab was opened
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    frame.tab.select(lambda: gr.Timer(active=True), None, [timer], **quiet)
    frame.poll(timer, looker(vote), ballot.seen, [question, tally])
    for html in (question, tally):
        html.press(presser(vote), None, ballot.outputs, **quiet)  # type: ignore[attr-defined]
    return ballot


def looker(vote: BlindVote) -> Callable[[str, str], tuple[Any, Any, Any]]:
    """The handler of a look: what has changed since, for this visitor."""

    def look(visitor: str, seen: str) -> tuple[Any, Any, Any]:
        before = f"{seen}.".split(".")
        now, question, tally = _drawn(vote, visitor)
        first, second = now.split(".")
        if now == seen:
            return gr.skip(), gr.skip(), gr.skip()
        # What stays as it is keeps the cursor where it stands, and a phone where it has scrolled to.
        return now, gr.skip() if first == before[0] else question, gr.skip() if second == before[1] else tally

    return look


def presser(vote: BlindVote) -> Callable[[gr.EventData], tuple[str, str, str]]:
    """The handler of a press on any button of the vote."""

    @shows_input_errors
    def press(event: gr.EventData) -> tuple[str, str, str]:
        visitor = known_visitor(detail(event, "visitor"), "Blind vote")
        number, pressed = number_of(event, "round"), str(detail(event, "vote"))
        if pressed == REVEAL:
            vote.reveal(visitor, number)
        elif pressed == RESET:
            vote.reset(visitor, number)
        else:
            try:
                place = int(pressed)
            except ValueError:
                raise InputError(f"'{pressed[:20]}' is no answer", "Blind vote") from None
            vote.vote(visitor, number, place)
        return _drawn(vote, visitor)

    return press


def _drawn(vote: BlindVote, visitor: str) -> tuple[str, str, str]:
    view = vote.view(visitor)
    question = round_html(view) if view else ""
    tally = tally_html(view, *vote.standings())
    return f"{_digest(question)}.{_digest(tally)}", question, tally


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()
