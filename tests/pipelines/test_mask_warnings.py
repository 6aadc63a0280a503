"""Masks that train the wrong thing and look fine: each warning with the issue that reported it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipelines.labels import IGNORE_INDEX, label
from pipelines.mask_warnings import mask_warnings
from pipelines.messages import Message
from pipelines.templates import TemplateEntry, get_template, render

ASKED = (Message("user", "What is the capital of France?"), Message("assistant", "Paris."))
POCKET = "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endfor %}"
OWN = TemplateEntry("own", "own", (), POCKET, {"bos_token": "<|bos|>"})


def found(template: TemplateEntry, tokenizer: Any, **options: Any) -> list[str]:
    rendered = render(ASKED, template)
    labelled = label(rendered, tokenizer)
    options.setdefault("eos_ids", [tokenizer.convert_tokens_to_ids("<|end|>")])
    return [warning.key for warning in mask_warnings(rendered, labelled, tokenizer, **options)]


def test_the_pair_s_own_template_has_only_the_bos_to_watch(tiny_tokenizer: Any) -> None:
    assert found(OWN, tiny_tokenizer) == ["double-bos"]  # LlamaFactory#5834


def test_trl_5988_an_answer_without_a_stop_token(tiny_tokenizer: Any) -> None:
    assert "stop-untrained" in found(replace(OWN, jinja=POCKET.replace(" + '<|end|>'", "")), tiny_tokenizer)


def test_llamafactory_10827_the_stop_token_is_not_where_generation_stops(tiny_tokenizer: Any) -> None:
    assert "stop-not-eos" in found(OWN, tiny_tokenizer, eos_ids=[tiny_tokenizer.eos_token_id])


def test_unsloth_2900_padding_is_the_stop_token(tiny_tokenizer: Any) -> None:
    import copy

    same = copy.deepcopy(tiny_tokenizer)
    same.pad_token = same.eos_token
    assert "pad-is-eos" in found(OWN, same)


def test_unsloth_877_control_tokens_the_base_does_not_know(tiny_tokenizer: Any) -> None:
    assert "unknown-control" in found(get_template("chatml"), tiny_tokenizer)


@pytest.mark.parametrize("length, expected", [(3, "all-masked"), (40, "truncated")])
def test_trl_3927_truncation_that_hides_the_answer(tiny_tokenizer: Any, length: int, expected: str) -> None:
    rendered = render(ASKED, OWN)
    labelled = label(rendered, tiny_tokenizer)
    limit = length if length < 10 else len(labelled.labels) - 1
    warning = mask_warnings(rendered, labelled, tiny_tokenizer, max_length=limit)[-1]
    assert warning.key == expected


def test_openrlhf_973_the_first_token_of_the_answer_is_learned(tiny_tokenizer: Any) -> None:
    rendered = render(ASKED, OWN)
    labelled = label(rendered, tiny_tokenizer)
    first = next(at for at, (start, _) in enumerate(labelled.offsets) if start == rendered.answers[0].start)
    assert labelled.labels[first] == labelled.input_ids[first]
    assert labelled.labels[first - 1] == IGNORE_INDEX
