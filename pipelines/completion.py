"""What a person asks of a model: continue this text, answer this conversation, what comes next, how surprising.

Checks what was asked, encodes it, borrows the model, and gives it back whatever happens.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import unified_diff

from pipelines.decoding import ALTERNATIVES, GeneratedToken, TextStream, TokenProbability, generate_batch
from pipelines.errors import InputError
from pipelines.messages import Message, as_dicts
from pipelines.models import Cancelled, Lease, ModelManager, zero_gpu
from pipelines.models.engine import Request, Ticket, Token

__all__ = [
    "Completion",
    "GeneratedToken",
    "Sampling",
    "TokenProbability",
    "chat",
    "chat_ids",
    "complete",
    "continue_ids",
    "generate_batch",
    "next_tokens",
    "token_losses",
]

MAX_NEW_TOKENS = 4096
MAX_TEMPERATURE = 5.0
MAX_SEED = 2**63 - 1
MAX_PROMPT = 200_000  # characters; more is no question, and tokenizing it would keep others waiting
MAX_K = 1000
NO_IDS: frozenset[int] = frozenset()
Encode = Callable[[Lease], tuple[list[int], frozenset[int]]]  # the prompt, and ids that end the answer too
_EVERY = 0.03  # seconds between two values of a stream: more often than a page can draw
_SIGN_OF_LIFE = 1.0  # seconds after which a stream without news says so
_STREAMS = 4  # that are drawn so often; more share what the page can be sent


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn. `temperature` 0 takes the most probable token; `seed` makes any other repeatable."""

    max_new_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0

    def checked(self) -> Sampling:
        """The same with clean types. Raises InputError naming the field and what it may be."""
        return Sampling(
            _integer(self.max_new_tokens, "max_new_tokens", 1, MAX_NEW_TOKENS),
            _number(self.temperature, "temperature", 0.0, MAX_TEMPERATURE),
            _integer(self.seed, "seed", 0, MAX_SEED),
        )


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


def estimate(manager: ModelManager, asked: object, model: str, sampling: Sampling | None, *_: object) -> float:
    """Seconds that ZeroGPU is asked for an answer. Raises InputError for a text that no model takes."""
    if isinstance(asked, str) or asked is None:
        _text(asked, "prompt")
    tokens = (sampling or Sampling()).checked().max_new_tokens
    return zero_gpu.answer_seconds([manager.resolve(model).weights.parameters], tokens)


def stopped(value: Completion) -> Completion:
    """An answer as far as it came when somebody pressed Stop."""
    return value if value.stop_reason else replace(value, stop_reason="cancelled")


def _of_one_pass(manager: ModelManager, asked: object, model: str, *_: object) -> float:
    return estimate(manager, asked, model, Sampling(1))


@zero_gpu.on_gpu(estimate, stopped)
def complete(
    manager: ModelManager,
    prompt: str,
    model: str = "base",
    sampling: Sampling | None = None,
    cancel: threading.Event | None = None,
    details: bool = True,
) -> Iterator[Completion]:
    """Continue a text. Yields about thirty times a second at most; the last value has a stop reason.

    details: note the probability and the alternatives of each token
    Closing the iterator gives the model back. Raises InputError at once for what was typed, and while iterating
    for what the model cannot do.
    """
    text = _text(prompt, "prompt")
    return _answer(manager, model, lambda lease: (_encode(lease, text), NO_IDS), sampling, cancel, details)


@zero_gpu.on_gpu(estimate, stopped)
def chat(
    manager: ModelManager,
    messages: Sequence[Message],
    model: str = "instruct",
    sampling: Sampling | None = None,
    template: str = "",
    cancel: threading.Event | None = None,
    details: bool = True,
) -> Iterator[Completion]:
    """Answer a conversation, rendered by `template` (a key of the catalogue; "" is the model's own).

    Ends at the template's own end of turn too: a base model's configuration need not name it.
    """

    def encode(lease: Lease) -> tuple[list[int], frozenset[int]]:
        return chat_ids(lease, messages, template), turn_end_ids(lease, template)

    return _answer(manager, model, encode, sampling, cancel, details)


@zero_gpu.on_gpu(estimate, stopped)
def continue_ids(
    manager: ModelManager,
    ids: Sequence[int],
    model: str = "base",
    sampling: Sampling | None = None,
    cancel: threading.Event | None = None,
) -> Iterator[Completion]:
    """Continue token ids, for instance a prompt, a part of its answer, and another token than the one that came."""
    return _answer(manager, model, lambda lease: (_checked_ids(lease, ids), NO_IDS), sampling, cancel, True)


@zero_gpu.on_gpu(_of_one_pass)
def next_tokens(manager: ModelManager, prompt: str, model: str = "base", k: int = 10) -> tuple[TokenProbability, ...]:
    """The k most probable next tokens after a text, most probable first."""
    text, count = _text(prompt, "prompt"), _integer(k, "k", 1, MAX_K)
    with manager.lease(model) as lease:
        ticket = lease.ask(Request(_encode(lease, text), NO_IDS, 1, alternatives=count))
        try:
            while not (tokens := ticket.take(1.0)):
                continue
        finally:
            ticket.close()
        return alternatives(lease, tokens[0])


@zero_gpu.on_gpu(_of_one_pass)
def token_losses(manager: ModelManager, ids: Sequence[int], model: str = "base") -> list[float | None]:
    """Cross-entropy in nats of each token given those before it, in one forward pass; None for the first."""
    with manager.lease(model) as lease:
        import torch
        from torch.nn.functional import cross_entropy

        checked = torch.tensor([_checked_ids(lease, ids, room=0)], device=lease.device)
        with lease.active() as network:
            logits = network(input_ids=checked, use_cache=False).logits[0, :-1].float()
            losses = cross_entropy(logits, checked[0, 1:], reduction="none").tolist()
    return [None, *losses]


def prompt_ids(lease: Lease, prompt: str) -> list[int]:
    """A bare text as the model takes it. Raises InputError for one that is empty or too long."""
    return _encode(lease, _text(prompt, "prompt"))


def chat_ids(lease: Lease, messages: Sequence[Message], template: str = "") -> list[int]:
    """A conversation as the model takes it, with the opening of the answer at the end."""
    if not messages:
        raise InputError("the conversation is empty", "messages", "Add at least one message.")
    text = _render(lease, messages, template)
    return _room(lease, lease.tokenizer(text, add_special_tokens=False)["input_ids"], "messages")


def turn_end_ids(lease: Lease, template: str = "") -> frozenset[int]:
    """The token that the template puts right after an answer, when it is one of the model's special tokens."""
    mark = "an answer"
    try:
        text = _render(lease, [Message("user", "a question"), Message("assistant", mark)], template, answered=True)
    except InputError:
        return NO_IDS
    after = lease.tokenizer(text.rpartition(mark)[2].lstrip(), add_special_tokens=False)["input_ids"]
    special = {*lease.tokenizer.all_special_ids, *lease.tokenizer.added_tokens_decoder}
    return frozenset(after[:1]) & special


def _answer(
    manager: ModelManager,
    model: str,
    encode: Encode,
    sampling: Sampling | None,
    cancel: threading.Event | None,
    details: bool,
) -> Iterator[Completion]:
    sampling = (sampling or Sampling()).checked()
    manager.resolve(model)
    return _stream(manager, model, encode, sampling, cancel, details)


def _stream(
    manager: ModelManager,
    model: str,
    encode: Encode,
    sampling: Sampling,
    cancel: threading.Event | None,
    details: bool,
) -> Iterator[Completion]:
    try:
        with manager.lease(model, cancel=cancel) as lease:
            ids, ends = encode(lease)
            request = request_for(ids, lease.eos_ids | ends, sampling, details)
            ticket = lease.ask(request)
            try:
                yield from _grow(ticket, Growing(lease, request), cancel)
            finally:
                ticket.close()
    except Cancelled:
        yield Completion("", (), 0, 0.0, "cancelled")


def request_for(ids: Sequence[int], stops: frozenset[int], sampling: Sampling, details: bool = True) -> Request:
    """What the engine is asked. `details`: as of `complete`."""
    noted = ALTERNATIVES if details else 0
    return Request(tuple(ids), stops, sampling.max_new_tokens, sampling.temperature, sampling.seed, noted)


def _grow(ticket: Ticket, answer: Growing, cancel: threading.Event | None) -> Iterator[Completion]:
    while True:
        stopped = cancel is not None and cancel.is_set()
        if stopped:
            ticket.close()
        if answer.take(ticket) and not stopped:
            yield answer.shown()
        if ticket.done:
            yield answer.ended(ticket.reason or "length")
            return


class Growing:
    """A Completion while its tokens arrive. The clock starts with it."""

    def __init__(self, lease: Lease, request: Request) -> None:
        self._lease, self._ids, self._details = lease, tuple(request.ids), request.alternatives > 0
        self._pieces, self._text = TextStream(lease.tokenizer, request.ids), ""
        self._tokens: list[GeneratedToken] = []
        self._count = self._place = 0
        self.shared = 0  # the most answers that were written in one pass with this
        self._begin = self._shown = time.perf_counter()

    def take(self, ticket: Ticket, wait: float | None = None) -> bool:
        """Add what has come; waits for it as long as a page takes to draw. Whether there is something new to show."""
        place = ticket.place
        pause = _EVERY * max(1.0, self._lease.engine.load[0] / _STREAMS) if wait is None else wait
        tokens = ticket.take(pause)
        for token in tokens:
            self._push(token)
        # Now and then without news as well: only at a value does a stream learn that its reader has left.
        changed = bool(tokens) or place != self._place or time.perf_counter() - self._shown > _SIGN_OF_LIFE
        self._place = place if not tokens else 0
        return changed

    def shown(self) -> Completion:
        """The answer so far."""
        self._shown = time.perf_counter()
        return self._completion(None)

    def ended(self, reason: str) -> Completion:
        """The whole answer, with what was left of its last character."""
        self._text += self._pieces.flush()
        return self._completion(reason)

    def _push(self, token: Token) -> None:
        piece = self._pieces.push(token.id)
        self._text += piece
        self._count += 1
        self.shared = max(self.shared, token.rows)
        if self._details:
            special = token.id in self._lease.words.special
            text = self._lease.words.text(token.id) if special else piece
            others = alternatives(self._lease, token)
            self._tokens.append(GeneratedToken(token.id, text, token.probability or 0.0, others, special))

    def _completion(self, reason: str | None) -> Completion:
        seconds = time.perf_counter() - self._begin
        return Completion(self._text, tuple(self._tokens), self._count, seconds, reason, self._ids, self._place)


def alternatives(lease: Lease, token: Token) -> tuple[TokenProbability, ...]:
    """The most probable tokens in a token's place, with their texts."""
    return tuple(TokenProbability(lease.words.text(other), other, share) for other, share in token.likely)


def _render(lease: Lease, messages: Sequence[Message], template: str, answered: bool = False) -> str:
    """`answered`: the conversation ends with an answer, so that none is opened.

    Raises InputError with a diff for an adapter under another template than the one it was trained with: it would
    answer, only worse, and nothing would say why (hiyouga/LLaMA-Factory issue 5834).
    """
    own = lease.tokenizer.chat_template
    if template and own and lease.adapter_name is not None and not answered:
        trained, asked = (_render(lease, messages, key, answered=True) for key in ("", template))
        if trained != asked:
            raise InputError(
                f"'{template}' is not the template that {lease.spec.title} was trained with. {_apart(trained, asked)}",
                "template",
                "Leave it empty: the adapter brings its own.",
            )
    if not template and own:
        from jinja2 import TemplateError

        try:
            return lease.tokenizer.apply_chat_template(
                as_dicts(messages), tokenize=False, add_generation_prompt=not answered
            )
        except TemplateError as error:
            raise InputError(f"the template of {lease.spec.title} refuses: {error}", "messages") from error
    from pipelines.templates import get_template, render

    key = template or lease.spec.template
    if not key:
        raise InputError(f"{lease.spec.title} has no chat template", "template", "Choose one by its key.")
    return render(messages, get_template(key), add_generation_prompt=not answered).text


def _apart(trained: str, asked: str) -> str:
    """The first lines in which two renderings differ, as a diff."""
    lines = list(unified_diff(trained.splitlines(), asked.splitlines(), n=0, lineterm=""))[2:]
    shown = " ".join(line if len(line) <= 120 else f"{line[:119]}…" for line in lines[:6] if not line.startswith("@@"))
    return f"Trained with (-), asked for (+): {shown}"


def _encode(lease: Lease, text: str) -> list[int]:
    return _room(lease, lease.tokenizer(text)["input_ids"], "prompt")


def _room(lease: Lease, ids: Sequence[int], where: str, room: int = 1) -> list[int]:
    """The ids, if the context has room for them and for `room` more."""
    allowed = lease.context_length - room
    if len(ids) > allowed:
        raise InputError(f"{len(ids):,} tokens; {lease.spec.title} takes {allowed:,} at most", where, "Shorten it.")
    return list(ids)


def _checked_ids(lease: Lease, ids: Sequence[int], room: int = 1) -> list[int]:
    if not ids:
        raise InputError("there is no token", "ids", "Give at least one token id.")
    vocabulary = int(lease.model.config.vocab_size)
    for token in ids:
        if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < vocabulary:
            raise InputError(f"{token!r} is not a token id", "ids", f"Ids go from 0 to {vocabulary - 1}.")
    return _room(lease, ids, "ids", room)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError("is empty", where, "Write something for the model to continue.")
    if len(value) > MAX_PROMPT:
        raise InputError(f"{len(value):,} characters", where, f"At most {MAX_PROMPT:,} are read.")
    # JSON can carry half of a surrogate pair, which no tokenizer takes.
    return value.encode("utf-8", "replace").decode("utf-8")


def _integer(value: object, where: str, low: int, high: int) -> int:
    number = _number(value, where, low, high, "a whole number")
    if number != int(number):
        raise InputError(f"{value!r} is not a whole number", where, f"Use a whole number from {low} to {high}.")
    return int(value) if isinstance(value, int) else int(number)


def _number(value: object, where: str, low: float, high: float, kind: str = "a number") -> float:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not usable or not low <= value <= high:  # type: ignore[operator]
        shown = repr(value)[:80]
        raise InputError(f"{shown} is not allowed", where, f"Use {kind} from {low:g} to {high:g}.")
    return float(value)  # type: ignore[arg-type]
