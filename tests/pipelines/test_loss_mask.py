"""The mask with losses: every token of the rendering, and a loss wherever the model can give one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.loss_mask import loss_mask_record
from pipelines.models import ModelManager
from tests.pipelines.templates.conversations import CONVERSATIONS, said

CONTEXT = 128  # of the tiny pair


@pytest.fixture
def manager(tiny_pair: Any) -> Iterator[ModelManager]:
    yield ModelManager(tiny_pair.settings)


def test_token_texts_joined_are_the_rendering(manager: ModelManager) -> None:
    for name in ("unicode", "emoji", "east asian", "control characters"):
        mask = loss_mask_record(manager, CONVERSATIONS[name], "chatml")
        text = "".join(token["text"] for token in mask["tokens"])
        assert text.startswith("<|im_start|>user\n") and CONVERSATIONS[name][-1]["content"].strip() in text


def test_a_conversation_longer_than_the_context_is_masked_whole(manager: ModelManager) -> None:
    mask = loss_mask_record(manager, said("user: " + "why " * 200, "assistant: because"))
    known = [token["loss"] is not None for token in mask["tokens"]]
    assert mask["total"] > 2 * CONTEXT and mask["supervised"] > 0
    assert known == [False] + [True] * (CONTEXT - 1) + [False] * (mask["total"] - CONTEXT)
    assert mask["loss_all"] is not None and mask["loss_supervised"] is None


def test_without_losses_no_weights_are_read(manager: ModelManager) -> None:
    chat = CONVERSATIONS["two turns"]
    mask = loss_mask_record(manager, chat, losses=False)
    assert not any(status.resident for status in manager.models())
    assert mask["loss_all"] is None and all(token["loss"] is None for token in mask["tokens"])
    whole = loss_mask_record(manager, chat)
    assert [token | {"loss": None} for token in whole["tokens"]] == mask["tokens"]
