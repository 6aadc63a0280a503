"""What TRL itself would train on with `assistant_only_loss=True`: by calling TRL, not by knowing it.

The same steps as `SFTTrainer` takes: `get_training_chat_template` where the template has no `{% generation %}` markers,
then the tokenizer's `return_assistant_tokens_mask`, labels of -100 where the mask is 0, and TRL's collator.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.labels import IGNORE_INDEX, LabelledTokens
from pipelines.messages import Message, as_dicts
from pipelines.templates.types import Rendered, TemplateEntry

Verdict = Literal["same", "different", "refuses"]


@dataclass(frozen=True, slots=True)
class TrlMask:
    """verdict: against our labels; detail: where they differ or what TRL said; labels: TRL's, None if it refuses."""

    verdict: Verdict
    detail: str
    input_ids: tuple[int, ...] = ()
    labels: tuple[int, ...] | None = None


def trl_labels(
    messages: Sequence[Message],
    template: TemplateEntry,
    tokenizer: Any,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids and labels of the batch that TRL's collator makes of this one conversation.

    Raises what TRL or the template raises: ValueError where TRL knows no training version of the template.
    """
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers
    from trl.data_utils import _tokenize
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    borrowed = copy.copy(tokenizer)
    borrowed.chat_template = template.jinja
    training = None if has_generation_markers(template.jinja) else get_training_chat_template(borrowed)
    options = {"tools": list(tools)} if tools else {}
    row = _tokenize(
        borrowed,
        as_dicts(messages),
        return_assistant_tokens_mask=True,
        chat_template=training,
        **options,
        **template.special_tokens,
    )
    pairs = zip(row["input_ids"], row["assistant_masks"], strict=True)
    labels = [token if kept else IGNORE_INDEX for token, kept in pairs]
    collate = DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id or 0)
    batch = collate([{"input_ids": row["input_ids"], "labels": labels}])
    return tuple(batch["input_ids"][0].tolist()), tuple(batch["labels"][0].tolist())


def compare_with_trl(
    messages: Sequence[Message],
    template: TemplateEntry,
    tokenizer: Any,
    rendered: Rendered,
    labelled: LabelledTokens,
) -> TrlMask:
    """TRL's labels beside ours, for the same conversation and tokenizer. Never raises."""
    try:
        ids, labels = trl_labels(messages, template, tokenizer)
    except Exception as error:  # whatever TRL raises is the answer
        return TrlMask("refuses", _sentence(error))
    if ids != labelled.input_ids:
        decoded = tokenizer.decode(ids[_first_difference(ids, labelled.input_ids) :][:12])
        return TrlMask(
            "different", f"TRL trains on another text: its training template renders “{decoded}”.", ids, labels
        )
    if labels == labelled.labels:
        return TrlMask("same", "TRL's own mask supervises the same tokens.", ids, labels)
    if all(label == IGNORE_INDEX for label in labels):
        return TrlMask("different", "TRL's mask supervises nothing: every label is -100.", ids, labels)
    more = _spell(rendered, labelled, [ours == IGNORE_INDEX != theirs for ours, theirs in _pairs(labelled, labels)])
    less = _spell(rendered, labelled, [theirs == IGNORE_INDEX != ours for ours, theirs in _pairs(labelled, labels)])
    parts = [f"TRL also trains {more}" if more else "", f"TRL leaves out {less}" if less else ""]
    return TrlMask("different", " and ".join(part for part in parts if part) + ".", ids, labels)


def _pairs(labelled: LabelledTokens, labels: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(labelled.labels, labels, strict=True))


def _spell(rendered: Rendered, labelled: LabelledTokens, chosen: Sequence[bool]) -> str:
    texts = [rendered.text[a:b] for (a, b), yes in zip(labelled.offsets, chosen, strict=True) if yes]
    if not texts:
        return ""
    shown = "".join(texts).replace("\n", "↵")
    few = "1 token" if len(texts) == 1 else f"{len(texts)} tokens"
    return f"{few} (“{shown if len(shown) <= 80 else shown[:77] + '…'}”)"


def _first_difference(left: Sequence[int], right: Sequence[int]) -> int:
    return next((at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{type(error).__name__}: {text}"
