"""What can go wrong with a loss mask and show nowhere in the loss curve: named before training.

Each was reported by people who lost a training run to it; the issue is named at its check.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from pipelines.labels import IGNORE_INDEX, LabelledTokens
from pipelines.templates.types import Rendered
from pipelines.templates.warnings import TemplateWarning as Warning_

_CONTROL = re.compile(r"<[^<>\s]{1,40}>|\[/?[A-Z_]{2,30}\]")


def mask_warnings(
    rendered: Rendered,
    labelled: LabelledTokens,
    tokenizer: Any,
    *,
    eos_ids: Collection[int] = (),
    max_length: int | None = None,
) -> tuple[Warning_, ...]:
    """The warnings of one labelled conversation.

    eos_ids:    tokens at which the model's generation stops
    max_length: tokens after which training cuts, as `SFTConfig.max_length`
    """
    stops = set(eos_ids) or ({tokenizer.eos_token_id} if tokenizer.eos_token_id is not None else set())
    found = [
        _untrained_stop(rendered, labelled, tokenizer, stops),
        _pad_is_stop(labelled, tokenizer, stops),
        _split_control(rendered, labelled),
        _double_bos(rendered, tokenizer),
        _truncated(labelled, max_length),
    ]
    return tuple(warning for warning in found if warning is not None)


def _untrained_stop(rendered: Rendered, labelled: LabelledTokens, tokenizer: Any, stops: set[int]) -> Warning_ | None:
    """trl#5988, LlamaFactory#10827: the token that ends the turn is not trained, or is not one generation stops at."""
    if not rendered.answers:
        return None
    answer = rendered.answers[-1]
    content_end = max(
        (span.end for span in rendered.spans if span.kind == "content" and answer.start < span.end <= answer.end),
        default=answer.start,
    )
    if content_end >= answer.end:
        detail = "The last answer ends with its last word: no stop token is trained, and the model goes on and on."
        return Warning_("stop-untrained", "stop token untrained", detail)
    inside = [
        name
        for name, (start, end) in zip(labelled.labels, labelled.offsets, strict=True)
        if start < answer.end and end > content_end and start < end
    ]
    if not inside or IGNORE_INDEX in inside:
        detail = "The token that ends the answer is not supervised: the model does not learn to stop."
        return Warning_("stop-untrained", "stop token untrained", detail)
    if stops and not stops.intersection(inside):
        ending = rendered.text[content_end : answer.end].strip()
        names = ", ".join(str(tokenizer.decode([stop])) for stop in sorted(stops))
        detail = (
            f"Answers end with “{ending}”, but this model's generation stops at {names}: what it learns as the end is "
            "not where it is stopped. Set eos_token_id of the generation config to the template's token."
        )
        return Warning_("stop-not-eos", "stop token is not the model's", detail)
    return None


def _pad_is_stop(labelled: LabelledTokens, tokenizer: Any, stops: set[int]) -> Warning_ | None:
    """unsloth#2900 and many others: a collator that masks padding by id masks the stop token with it."""
    pad = tokenizer.pad_token_id
    if pad is None or pad not in stops | {tokenizer.eos_token_id}:
        return None
    detail = (
        f"The padding token {tokenizer.decode([pad])} is a stop token too. A collator that masks padding by id masks "
        "the end of every answer, and the model never stops. Mask by attention_mask, or give padding its own token."
    )
    return Warning_("pad-is-eos", "padding is the stop token", detail)


def _split_control(rendered: Rendered, labelled: LabelledTokens) -> Warning_ | None:
    """unsloth#877: a base model given an instruct format whose control tokens it does not know."""
    starts = {start for start, _ in labelled.offsets}
    whole = set(labelled.offsets)
    split: dict[str, int] = {}
    for span in rendered.spans:
        if span.kind != "control":
            continue
        for match in _CONTROL.finditer(rendered.text, span.start, span.end):
            if match.span() not in whole:
                inside = sum(match.start() <= start < match.end() for start in starts)
                split.setdefault(match[0], max(inside, 1))
    if not split:
        return None
    shown = ", ".join(f"{text} ({count} tokens)" for text, count in list(split.items())[:4])
    detail = (
        f"The tokenizer does not know {shown}: spelled out as ordinary text. Fine-tuning teaches them slowly; "
        "use the model's own template, or add the tokens and train the embeddings (modules_to_save)."
    )
    return Warning_("unknown-control", "control tokens are unknown to the tokenizer", detail)


def _double_bos(rendered: Rendered, tokenizer: Any) -> Warning_ | None:
    """LlamaFactory#5834: tokenized with special tokens added, the rendering begins with BOS twice."""
    bos = tokenizer.bos_token_id
    ids = tokenizer(rendered.text[:400], add_special_tokens=True)["input_ids"][:2] if bos is not None else []
    if ids != [bos, bos]:
        return None
    detail = (
        f"The rendering begins with {tokenizer.bos_token}, and this tokenizer adds another unless it is told "
        "add_special_tokens=False. The labels here have one."
    )
    return Warning_("double-bos", "double BOS", detail)


def _truncated(labelled: LabelledTokens, max_length: int | None) -> Warning_ | None:
    """trl#3927, unsloth#2095: what is cut away may be all that would have been learned."""
    if max_length is None or len(labelled.labels) <= max_length:
        return None
    kept, cut = labelled.labels[:max_length], labelled.labels[max_length:]
    lost = sum(name != IGNORE_INDEX for name in cut)
    if lost and not any(name != IGNORE_INDEX for name in kept):
        detail = f"At max_length {max_length} the answer is cut away whole: all labels are -100, nothing is learned."
        return Warning_("all-masked", "every label is -100", detail)
    what = f"{lost} of them supervised, the last stop token among them" if lost else "none of them supervised"
    detail = f"max_length {max_length} cuts {len(cut)} of {len(labelled.labels)} tokens, {what}."
    return Warning_("truncated", "truncated", detail)
