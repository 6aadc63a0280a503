"""From a run's rows to what the trainer and the evaluation take: ids with labels, and ids to answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.errors import InputError
from pipelines.finetune.config import SMALL_MODEL, FinetuneConfig
from pipelines.finetune.rows import Row, Rows, in_training_order
from pipelines.finetune.run import TrainedModel
from pipelines.labels import IGNORE_INDEX, label
from pipelines.messages import Message
from pipelines.running_example import QUESTION
from pipelines.templates import TemplateEntry, get_template, render, template_of

# Answers may be this much longer than the longest reference before they are cut: a right one fits, a ramble does not.
SPARE_TOKENS = 8
MAX_NEW_TOKENS = (24, 128)  # smallest and largest limit
# The chapter's own two questions; the other prompts of a run are held-out ones.
CHAPTER_PROMPTS = (QUESTION, "What is photosynthesis?")
HELDOUT_PROMPTS = 2

# Of a preference pair: prompt, preferred answer, rejected answer; each answer with its end token.
PairIds = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Example:
    """T tokens of one conversation, and their labels: the id, or −100 where the loss does not look.

    pair: of a preference pair, the ids of prompt, preferred and rejected answer, each answer with its end token
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    messages: tuple[Message, ...]
    rejected: str = ""
    pair: PairIds | None = None

    def as_columns(self) -> dict[str, list[int]]:
        """One row of a TRL data set; TRL takes a `labels` column as it is."""
        return {"input_ids": list(self.input_ids), "labels": list(self.labels)}

    def as_pair(self) -> dict[str, list[int]]:
        """One row as TRL's `DPOTrainer` has it after its own tokenization."""
        assert self.pair is not None
        return {
            name: list(ids) for name, ids in zip(("prompt_ids", "chosen_ids", "rejected_ids"), self.pair, strict=True)
        }


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt as ids, ready to be answered. `text`: its last user message."""

    ids: tuple[int, ...]
    text: str
    accepted: tuple[str, ...] = ()
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Examples:
    """Everything a run computes with.

    train:          in training order
    max_new_tokens: the limit of an answer
    chat_template:  the Jinja text that all of it was rendered with
    """

    train: tuple[Example, ...]
    heldout: tuple[Example, ...]
    questions: tuple[Question, ...]
    taught: tuple[Question, ...]
    prompts: tuple[Question, ...]
    max_new_tokens: int
    chat_template: str


def build_examples(rows: Rows, tokenizer: Any, config: FinetuneConfig, model: TrainedModel) -> Examples:
    """Render and label all rows. Raises InputError when no row has a supervised token within `max_length`."""
    template = training_template(tokenizer, model.template)
    train = [_example(row, template, tokenizer, config) for row in rows.train]
    train = [example for example in train if any(label != IGNORE_INDEX for label in example.labels[1:])]
    if not train:
        raise InputError(
            f"no row has an answer within {config.max_length} tokens", "max_length", "Raise it, or look at the data."
        )
    order = in_training_order(
        [len(example.input_ids) for example in train],
        config.batch_size or 1,
        config.seed,
        by_length=model.parameters < SMALL_MODEL,  # large ones are trained without padding (see `computing`)
    )
    heldout = [_example(row, template, tokenizer, config) for row in rows.heldout]
    questions = [_question(row, template, tokenizer) for row in rows.heldout]
    taught = [_question(row, template, tokenizer) for row in rows.taught]
    references = [row.reference for row in (*rows.heldout, *rows.taught)]
    lengths = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in references]
    low, high = MAX_NEW_TOKENS
    return Examples(
        train=tuple(train[index] for index in order),
        heldout=tuple(example for example in heldout if any(label != IGNORE_INDEX for label in example.labels[1:])),
        questions=tuple(questions),
        taught=tuple(taught),
        prompts=tuple(_prompts(config, rows, template, tokenizer)),
        max_new_tokens=min(high, max(low, SPARE_TOKENS + max(lengths, default=0))),
        chat_template=template.jinja,
    )


def answer_tokens(rows: Sequence[Row], tokenizer: Any, config: FinetuneConfig, model: TrainedModel) -> tuple[int, ...]:
    """The ids that have a label in one of `rows`, in order."""
    template = training_template(tokenizer, model.template)
    labels = {token for row in rows for token in _example(row, template, tokenizer, config).labels}
    return tuple(sorted(labels - {IGNORE_INDEX}))


def training_template(tokenizer: Any, key: str) -> TemplateEntry:
    """The catalogue's template of that key, or the tokenizer's own for an empty key."""
    if key:
        return get_template(key)
    if not tokenizer.chat_template:
        raise InputError("this model has no chat template of its own", "template", "Choose one from the Templates tab.")
    return template_of(tokenizer)


def _example(row: Row, template: TemplateEntry, tokenizer: Any, config: FinetuneConfig) -> Example:
    labelled = label(render(row.messages, template), tokenizer, config.train_on)  # type: ignore[arg-type]
    ids, labels = labelled.input_ids[: config.max_length], labelled.labels[: config.max_length]
    if not row.rejected:
        return Example(ids, labels, row.messages)
    return Example(ids, labels, row.messages, row.rejected, pair_ids(row, template, tokenizer))


def pair_ids(row: Row, template: TemplateEntry, tokenizer: Any) -> PairIds:
    """Prompt and both answers as ids. What follows the token that ends the turn belongs to neither answer."""
    sides = []
    for answer in (row.reference, row.rejected):
        messages = (*row.prompt, Message("assistant", answer))
        labelled = label(render(messages, template), tokenizer, "last_assistant")
        kept = [place for place, one in enumerate(labelled.labels) if one != IGNORE_INDEX]
        sides.append((labelled.input_ids, kept[0], kept[-1] + 1))
    # Where a token spans prompt and answer, the two prompts may end a token apart: the answers begin at the earlier.
    begin = min(first for _, first, _ in sides)
    (chosen, _, chosen_end), (rejected, _, rejected_end) = sides
    return chosen[:begin], chosen[begin:chosen_end], rejected[begin:rejected_end]


def _question(row: Row, template: TemplateEntry, tokenizer: Any) -> Question:
    return _ask(row.prompt, template, tokenizer, row.answers, row.reference)


def _ask(
    messages: Sequence[Message],
    template: TemplateEntry,
    tokenizer: Any,
    accepted: tuple[str, ...] = (),
    reference: str = "",
) -> Question:
    text = render(messages, template, add_generation_prompt=True).text
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    said = next((message.content for message in reversed(messages) if message.role == "user"), "")
    return Question(tuple(ids), said, accepted, reference)


def _prompts(config: FinetuneConfig, rows: Rows, template: TemplateEntry, tokenizer: Any) -> list[Question]:
    """The prompts of the samples: the configured ones; else the typed pairs', else the chapter's, and held-out ones."""
    if config.prompts:
        return [_ask((Message("user", prompt),), template, tokenizer) for prompt in config.prompts]
    own = [row.prompt for row in rows.taught[:4]] or [(Message("user", text),) for text in CHAPTER_PROMPTS]
    held = [row.prompt for row in rows.heldout[:HELDOUT_PROMPTS]]
    return [_ask(messages, template, tokenizer) for messages in (*own, *held)]
