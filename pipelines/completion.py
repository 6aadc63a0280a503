"""What a person asks of a model: continue this text, answer this conversation, what comes next, how surprising.

Checks what was asked, encodes it, borrows the model, and gives it back whatever happens. A model at an endpoint is
handed the same prompt instead (`pipelines.remote`): who asks need not know where an answer is written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import unified_diff

from pipelines.answering import (
    ALTERNATIVES,
    EVERY,
    SIGN_OF_LIFE,
    STREAMS,
    Completion,
    Conversation,
    GeneratedToken,
    Ids,
    Prompt,
    Sampling,
    Text,
    TokenProbability,
    Writing,
    checked_text,
    integer,
    stopped,
)
from pipelines.decoding import TextStream, generate_batch
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
    "spelled",
    "stop_ids",
    "token_losses",
]

MAX_K = 1000
NO_IDS: frozenset[int] = frozenset()


def estimate(manager: ModelManager, asked: object, model: str, sampling: Sampling | None, *_: object) -> float:
    """Seconds that ZeroGPU is asked for an answer. Raises InputError for a text that no model takes."""
    if isinstance(asked, str) or asked is None:
        checked_text(asked, "prompt")
    tokens = (sampling or Sampling()).checked().max_new_tokens
    return zero_gpu.answer_seconds([manager.resolve(model).weights.parameters], tokens)


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
    return _answer(manager, model, Text(checked_text(prompt, "prompt")), sampling, cancel, details)


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
    return _answer(manager, model, Conversation(messages, template), sampling, cancel, details)


@zero_gpu.on_gpu(estimate, stopped)
def continue_ids(
    manager: ModelManager,
    ids: Sequence[int],
    model: str = "base",
    sampling: Sampling | None = None,
    cancel: threading.Event | None = None,
) -> Iterator[Completion]:
    """Continue token ids, for instance a prompt, a part of its answer, and another token than the one that came."""
    return _answer(manager, model, Ids(ids), sampling, cancel, True)


@zero_gpu.on_gpu(_of_one_pass)
def next_tokens(manager: ModelManager, prompt: str, model: str = "base", k: int = 10) -> tuple[TokenProbability, ...]:
    """The k most probable next tokens after a text, most probable first."""
    text, count = checked_text(prompt, "prompt"), integer(k, "k", 1, MAX_K)
    if (served := manager.served(model)) is not None:
        return served.next_tokens(text, count)
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


def spelled(manager: ModelManager, model: str, ids: Sequence[int]) -> list[tuple[str, bool]]:
    """Token ids as text, each special token by itself; with each piece whether it is one."""
    if (served := manager.served(model)) is not None:
        return served.spelled(ids)
    tokenizer = manager.tokenizer(model)
    special = frozenset(tokenizer.all_special_ids)
    pieces: list[tuple[str, bool]] = []
    plain: list[int] = []
    for token in (*ids, None):
        if token is not None and token not in special:
            plain.append(token)
            continue
        if plain:
            pieces.append((tokenizer.decode(plain), False))
            plain = []
        if token is not None:
            pieces.append((tokenizer.decode([token]), True))
    return pieces


def stop_ids(manager: ModelManager, model: str) -> frozenset[int]:
    """Ids after which the model is done: they end a branch rather than begin one."""
    if (served := manager.served(model)) is not None:
        return served.stop_ids
    with manager.lease(model) as lease:
        return lease.eos_ids


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


def request_of(lease: Lease, prompt: Prompt, sampling: Sampling, details: bool = True) -> Request:
    """What the engine is asked. `details`: as of `complete`. Raises InputError for what the model does not take."""
    ends = NO_IDS
    if isinstance(prompt, Text):
        ids = _encode(lease, prompt.text)
    elif isinstance(prompt, Conversation):
        ids, ends = chat_ids(lease, prompt.messages, prompt.template), turn_end_ids(lease, prompt.template)
    else:
        ids = _checked_ids(lease, prompt.ids)
    noted = ALTERNATIVES if details else 0
    stops = lease.eos_ids | ends
    return Request(tuple(ids), stops, sampling.max_new_tokens, sampling.temperature, sampling.seed, noted)


def _answer(
    manager: ModelManager,
    model: str,
    prompt: Prompt,
    sampling: Sampling | None,
    cancel: threading.Event | None,
    details: bool,
) -> Iterator[Completion]:
    sampling = (sampling or Sampling()).checked()
    manager.resolve(model)
    return _stream(manager, model, prompt, sampling, cancel, details)


def _stream(
    manager: ModelManager,
    model: str,
    prompt: Prompt,
    sampling: Sampling,
    cancel: threading.Event | None,
    details: bool,
) -> Iterator[Completion]:
    try:
        with _begun(manager, model, prompt, sampling, cancel, details) as answer:
            yield from _grow(answer, cancel)
    except Cancelled:
        yield Completion("", (), 0, 0.0, "cancelled")


@contextmanager
def _begun(
    manager: ModelManager,
    model: str,
    prompt: Prompt,
    sampling: Sampling,
    cancel: threading.Event | None,
    details: bool,
) -> Iterator[Writing]:
    """The answer being written, here or at the endpoint; given up at the end."""
    if (served := manager.served(model)) is not None:
        answer = served.write(prompt, sampling, details)
        try:
            yield answer
        finally:
            answer.close()
        return
    with manager.lease(model, cancel=cancel) as lease:
        request = request_of(lease, prompt, sampling, details)
        ticket = lease.ask(request)
        try:
            yield Growing(lease, request, ticket)
        finally:
            ticket.close()


def _grow(answer: Writing, cancel: threading.Event | None) -> Iterator[Completion]:
    while True:
        given_up = cancel is not None and cancel.is_set()
        if given_up:
            answer.close()
        if answer.take() and not given_up:
            yield answer.shown()
        if answer.done:
            yield answer.ended()
            return


class Growing:
    """A Completion while its tokens arrive from the engine: a `Writing`. The clock starts with it."""

    def __init__(self, lease: Lease, request: Request, ticket: Ticket) -> None:
        self._ticket = ticket
        self._lease, self._ids, self._details = lease, tuple(request.ids), request.alternatives > 0
        self._pieces, self._text = TextStream(lease.tokenizer, request.ids), ""
        self._tokens: list[GeneratedToken] = []
        self._count = self._place = 0
        self.shared = 0  # the most answers that were written in one pass with this
        self._begin = self._shown = time.perf_counter()

    @property
    def done(self) -> bool:
        """Whether it has ended and everything was taken."""
        return self._ticket.done

    def close(self) -> None:
        """Give up what is not written yet. Returns when the engine has let go."""
        self._ticket.close()

    def take(self, wait: float | None = None) -> bool:
        """Add what has come; waits for it as long as a page takes to draw. Whether there is something new to show."""
        place = self._ticket.place
        pause = EVERY * max(1.0, self._lease.engine.load[0] / STREAMS) if wait is None else wait
        tokens = self._ticket.take(pause)
        for token in tokens:
            self._push(token)
        # Now and then without news as well: only at a value does a stream learn that its reader has left.
        changed = bool(tokens) or place != self._place or time.perf_counter() - self._shown > SIGN_OF_LIFE
        self._place = place if not tokens else 0
        return changed

    def shown(self) -> Completion:
        """The answer so far."""
        self._shown = time.perf_counter()
        return self._completion(None)

    def ended(self) -> Completion:
        """The whole answer, with what was left of its last character."""
        self._text += self._pieces.flush()
        return self._completion(self._ticket.reason or "length")

    def _push(self, token: Token) -> None:
        piece = self._pieces.push(token.id)
        self._text += piece
        self._count += 1
        self.shared = max(self.shared, token.rows)
        if self._details:
            special = token.id in self._lease.words.special
            text = self._lease.words.text(token.id) if special else piece
            others = alternatives(self._lease, token)
            self._tokens.append(GeneratedToken(token.id, text, token.probability, others, special))

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
