"""What is asked of a model and what comes back, as records, with the checks of what was typed. Knows no model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pipelines.errors import InputError
from pipelines.messages import Message

MAX_NEW_TOKENS = 4096
MAX_TEMPERATURE = 5.0
MAX_SEED = 2**63 - 1
MAX_PROMPT = 200_000  # characters; more is no question, and tokenizing it would keep others waiting
EVERY = 0.03  # seconds between two values of a stream: more often than a page can draw
SIGN_OF_LIFE = 1.0  # seconds after which a stream without news says so
ALTERNATIVES = 10  # noted beside each token
STREAMS = 4  # that are drawn so often; more share what the page can be sent


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn. `temperature` 0 takes the most probable token; `seed` makes any other repeatable."""

    max_new_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0

    def checked(self) -> Sampling:
        """The same with clean types. Raises InputError naming the field and what it may be."""
        return Sampling(
            integer(self.max_new_tokens, "max_new_tokens", 1, MAX_NEW_TOKENS),
            number(self.temperature, "temperature", 0.0, MAX_TEMPERATURE),
            integer(self.seed, "seed", 0, MAX_SEED),
        )


@dataclass(frozen=True, slots=True)
class TokenProbability:
    """A token that could come next. `token`: its text; bytes that are no whole character show as �."""

    token: str
    id: int
    probability: float


@dataclass(frozen=True, slots=True)
class GeneratedToken:
    """A token that was generated.

    text:         what it added to the text; empty while a character is incomplete; for a special token its name
    probability:  the model's own, at temperature 1, from 0 to 1; None where whoever wrote it gives none
    alternatives: the most probable tokens in its place, most probable first; it need not be among them
    """

    id: int
    text: str
    probability: float | None
    alternatives: tuple[TokenProbability, ...]
    special: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """A growing answer.

    text:        the answer so far, special tokens left out
    tokens:      what it is made of, the stop token included; empty where no details were asked for
    seconds:     since the model began
    stop_reason: None while it grows; then `eos`, `length` or `cancelled`
    prompt_ids:  what the model was given, for continuing from any of the tokens
    place:       in the queue, from 1; 0 once the model has begun
    """

    text: str
    tokens: tuple[GeneratedToken, ...]
    new_tokens: int
    seconds: float
    stop_reason: str | None
    prompt_ids: tuple[int, ...] = ()
    place: int = 0


def stopped(value: Completion) -> Completion:
    """An answer as far as it came when somebody pressed Stop."""
    return value if value.stop_reason else replace(value, stop_reason="cancelled")


@dataclass(frozen=True, slots=True)
class Text:
    """A text to continue as it stands."""

    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation to answer, rendered by `template` (a key of the catalogue; "" is the model's own)."""

    messages: Sequence[Message]
    template: str = ""


@dataclass(frozen=True, slots=True)
class Ids:
    """Tokens to continue, as `Completion.prompt_ids` and `GeneratedToken.id` number them."""

    ids: Sequence[int]


Prompt = Text | Conversation | Ids


class Writing(Protocol):
    """An answer while it is written, wherever that is. One thread reads; `close` has to be called in the end.

    shared: the most answers that were written in one pass with this, itself included, where that is known
    """

    shared: int

    @property
    def done(self) -> bool:
        """Whether it has ended and everything was taken."""
        ...

    def take(self, wait: float | None = None) -> bool:
        """Add what has come; waits for it as long as a page takes to draw. Whether there is something new to show.

        Raises InputError when there will be no answer."""
        ...

    def shown(self) -> Completion:
        """The answer so far."""
        ...

    def ended(self) -> Completion:
        """The whole answer, with its stop reason."""
        ...

    def close(self) -> None:
        """Give up what is not written yet."""
        ...


def checked_text(value: object, where: str) -> str:
    """What was typed to be continued. Raises InputError for one that is empty or endless."""
    if not isinstance(value, str) or not value.strip():
        raise InputError("is empty", where, "Write something for the model to continue.")
    if len(value) > MAX_PROMPT:
        raise InputError(f"{len(value):,} characters", where, f"At most {MAX_PROMPT:,} are read.")
    # JSON can carry half of a surrogate pair, which no tokenizer takes.
    return value.encode("utf-8", "replace").decode("utf-8")


def integer(value: object, where: str, low: int, high: int) -> int:
    """Raises InputError for anything but a whole number from `low` to `high`."""
    given = number(value, where, low, high, "a whole number")
    if given != int(given):
        raise InputError(f"{value!r} is not a whole number", where, f"Use a whole number from {low} to {high}.")
    return int(value) if isinstance(value, int) else int(given)


def number(value: object, where: str, low: float, high: float, kind: str = "a number") -> float:
    """Raises InputError for anything but a number from `low` to `high`."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not usable or not low <= value <= high:  # type: ignore[operator]
        shown = repr(value)[:80]
        raise InputError(f"{shown} is not allowed", where, f"Use {kind} from {low:g} to {high:g}.")
    return float(value)  # type: ignore[arg-type]
