"""A tokenizer with the texts of tokens that were decoded already."""

from __future__ import annotations

from typing import Any


class Words:
    """Shared by all who use the tokenizer: what stands beside each token that is written are ten others' texts."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.special = frozenset(tokenizer.all_special_ids)
        self._texts: dict[int, str] = {}

    def text(self, token: int) -> str:
        """Of one token; bytes that are no whole character show as \ufffd."""
        text = self._texts.get(token)
        if text is None:
            text = self._texts[token] = self.tokenizer.decode([token], clean_up_tokenization_spaces=False)
        return text
