"""A prediction that a room makes before anything is shown: one vote each, changed as often as wanted until the reveal.

Keeps no lock: the room that holds a ballot does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.errors import InputError

MAX_CHOICES = 8
MAX_CHARACTERS = 300  # of a question or a choice
_WHERE = "Prediction"


@dataclass(frozen=True, slots=True)
class Poll:
    """A question and the texts of its choices."""

    question: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BallotView:
    """A ballot as one person may see it.

    number:  changes when the presenter asks again, so that a vote on its way is not counted for the next question
    voted:   how many have voted; None for members as long as the vote is open
    mine:    the person's own choice
    counts:  votes of each choice; empty as long as the vote is open
    outcome: the choice that came true; None where that is not known (yet)
    right:   how many predicted it; None as long as `outcome` is
    """

    number: int
    stage: str
    question: str
    choices: tuple[str, ...]
    open: bool
    voted: int | None
    mine: int | None
    counts: tuple[int, ...]
    outcome: int | None
    right: int | None


@dataclass(slots=True)
class Ballot:
    """The votes of one question, by visitor."""

    number: int
    stage: str
    poll: Poll
    open: bool = True
    outcome: int | None = None
    votes: dict[str, int] = field(default_factory=dict)

    def vote(self, visitor: str, choice: int) -> None:
        """Count this visitor for that choice, and for no other. Raises InputError when the vote is over."""
        if not self.open:
            raise InputError("the vote is over", _WHERE, "Wait for the next question.")
        if not 0 <= choice < len(self.poll.choices):
            raise InputError(f"there is no choice {choice + 1}", _WHERE, f"Choose from 1 to {len(self.poll.choices)}.")
        self.votes[visitor] = choice

    def settle(self, outcome: int) -> None:
        """Say which choice came true. Raises InputError for one that was not offered."""
        if not 0 <= outcome < len(self.poll.choices):
            raise InputError(f"there is no choice {outcome + 1}", _WHERE)
        self.outcome = outcome

    @property
    def counts(self) -> tuple[int, ...]:
        """Votes of each choice."""
        cast = list(self.votes.values())
        return tuple(cast.count(choice) for choice in range(len(self.poll.choices)))

    def view(self, visitor: str, presenter: bool) -> BallotView:
        """What this person may see; nobody sees which way as long as the vote is open."""
        counts = self.counts
        outcome = None if self.open else self.outcome
        return BallotView(
            number=self.number,
            stage=self.stage,
            question=self.poll.question,
            choices=self.poll.choices,
            open=self.open,
            voted=None if self.open and not presenter else len(self.votes),
            mine=self.votes.get(visitor),
            counts=() if self.open else counts,
            outcome=outcome,
            right=None if outcome is None else counts[outcome],
        )
