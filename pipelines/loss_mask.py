"""A conversation as the loss sees it: each token with its role, whether it is supervised, and its loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError
from pipelines.labels import IGNORE_INDEX, LabelledTokens, TrainOn, label
from pipelines.messages import Message, parse_messages
from pipelines.templates import Rendered, TemplateEntry, get_template, render, template_of

if TYPE_CHECKING:
    from pipelines.models import ModelManager


MAX_TOKENS = 250_000  # a megabyte of prose; as many as an answer over HTTP can hold
MAX_LOSSES = 4_096  # tokens of one forward pass: the logits of more would fill the memory


@dataclass(frozen=True, slots=True)
class MaskedToken:
    """One token. text: its characters of the rendering; the texts of all tokens joined are the rendering.

    loss: cross-entropy in nats given the tokens before it; None for the first, which nothing predicts, and for those
          that the model's context does not reach
    """

    id: int
    text: str
    role: str
    supervised: bool
    loss: float | None

    @property
    def probability(self) -> float | None:
        """What the model gave this token, 0 to 1."""
        return None if self.loss is None else math.exp(-self.loss)


@dataclass(frozen=True, slots=True)
class LossMask:
    """The tokens of one conversation under one model. seen: how many of them, from the first, the model was given."""

    tokens: tuple[MaskedToken, ...]
    rendered: Rendered
    labelled: LabelledTokens
    seen: int

    @property
    def supervised(self) -> int:
        """How many tokens are learned from."""
        return sum(token.supervised for token in self.tokens)

    @property
    def loss_supervised(self) -> float | None:
        """Mean over the supervised tokens that have a loss: what a masked training step minimises."""
        return _mean([token.loss for token in self.tokens if token.supervised])

    @property
    def loss_all(self) -> float | None:
        """Mean over every token that has a loss: what training without a mask minimises."""
        return _mean([token.loss for token in self.tokens])


def template_for(manager: ModelManager, template: str, model: str) -> TemplateEntry:
    """The template of that key; for an empty one the model's own, or the one its family uses."""
    if template:
        return get_template(template)
    spec = manager.resolve(model)
    tokenizer = manager.tokenizer(model)
    if not tokenizer.chat_template and spec.template:
        return get_template(spec.template)
    return template_of(tokenizer)


def loss_mask(
    manager: ModelManager,
    messages: Sequence[Message],
    template: TemplateEntry,
    model: str = "instruct",
    train_on: TrainOn = "assistant",
    losses: bool = True,
) -> LossMask:
    """The mask of a conversation, with the losses of one forward pass of `model` over as much as its context takes.

    losses: False leaves them out, and needs no weights.
    Raises InputError when the template refuses it, nothing is supervised, or it has more than MAX_TOKENS.
    """
    rendered = render(messages, template)
    labelled = label(rendered, manager.tokenizer(model), train_on)
    if len(labelled.input_ids) > MAX_TOKENS:
        what = f"{len(labelled.input_ids):,} tokens"
        raise InputError(what, "messages", f"At most {MAX_TOKENS:,} are masked: shorten the conversation.")
    known = _losses(manager, labelled.input_ids, model) if losses else []
    every = known + [None] * (len(labelled.input_ids) - len(known))
    texts = token_texts(rendered.text, labelled.offsets)
    tokens = (
        MaskedToken(token, text, role, name != IGNORE_INDEX, loss)
        for token, text, role, name, loss in zip(
            labelled.input_ids, texts, labelled.roles, labelled.labels, every, strict=True
        )
    )
    return LossMask(tuple(tokens), rendered, labelled, len(known))


def _losses(manager: ModelManager, ids: Sequence[int], model: str) -> list[float | None]:
    from pipelines.completion import token_losses

    with manager.lease(model) as lease:
        room = min(lease.context_length, MAX_LOSSES)
    return token_losses(manager, ids[:room], model)


def loss_mask_record(
    manager: ModelManager,
    messages: object,
    template: str = "",
    model: str = "instruct",
    train_on: str = "assistant",
    losses: bool = True,
) -> dict[str, Any]:
    """`/loss_mask`: `{tokens, supervised, total, loss_supervised, loss_all}`."""
    conversation = parse_messages(messages)
    entry = template_for(manager, template, model)
    mask = loss_mask(manager, conversation, entry, model, train_on, losses)  # type: ignore[arg-type]
    return {
        # Not dataclasses.asdict: it copies each field deeply, which takes longer than rendering and masking together.
        "tokens": [
            {
                "id": token.id,
                "text": token.text,
                "role": token.role,
                "supervised": token.supervised,
                "loss": token.loss,
            }
            for token in mask.tokens
        ],
        "supervised": mask.supervised,
        "total": len(mask.tokens),
        "loss_supervised": mask.loss_supervised,
        "loss_all": mask.loss_all,
    }


def token_texts(text: str, offsets: Sequence[tuple[int, int]]) -> list[str]:
    """The characters of each token, so that all joined are the text.

    Byte-level tokens may share a character: the first has it, the others have none. Characters that no
    token covers (blanks a tokenizer drops) go with the token after them, at the end with the last.
    """
    texts, done = [], 0
    for _, end in offsets:
        texts.append(text[done : max(done, end)])
        done = max(done, end)
    if texts and done < len(text):
        texts[-1] += text[done:]
    return texts


def _mean(losses: Sequence[float | None]) -> float | None:
    known = [loss for loss in losses if loss is not None]
    return sum(known) / len(known) if known else None
