"""Lengths of conversations in tokens, as a model's own template and tokenizer make them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.messages import Message, as_dicts

Conversation = Sequence[Message]
Counter = Callable[[Sequence[Conversation]], list[int]]

# Conversations that are counted exactly; of the others only those that may be too long.
EXACT = 20_000
_NEAR_LIMIT = 0.6


@dataclass(frozen=True, slots=True)
class Measure:
    """How conversations are measured: by `counter` in tokens, else in characters.

    max_length: tokens of the longest that can be trained on
    name:       of the tokenizer; two measures of one name and length count the same
    """

    max_length: int = 2048
    counter: Counter | None = None
    name: str = ""


def measure_of(tokenizer: Any) -> Measure:
    """Tokens as the tokenizer of a transformers model counts them, up to the length that the model can read."""
    longest = getattr(tokenizer, "model_max_length", 0)
    # Tokenizers whose files state no length give an absurd one.
    if not isinstance(longest, int) or not 0 < longest < 10**9:
        longest = Measure().max_length
    return Measure(longest, template_counter(tokenizer), str(getattr(tokenizer, "name_or_path", id(tokenizer))))


def template_counter(tokenizer: Any) -> Counter:
    """Counts with the chat template of a transformers tokenizer, special tokens included.

    A conversation that the template refuses, and any conversation where the tokenizer has no template, is
    counted as its contents alone.
    """

    def render(conversation: Conversation) -> str:
        if getattr(tokenizer, "chat_template", None):
            try:
                return str(tokenizer.apply_chat_template(as_dicts(conversation), tokenize=False))
            except Exception:  # templates raise what they like; the length of a refused row only fills a plot
                pass
        return "\n".join(message.content for message in conversation)

    def count(conversations: Sequence[Conversation]) -> list[int]:
        texts = [render(conversation) for conversation in conversations]
        fast = getattr(tokenizer, "backend_tokenizer", None)
        if fast is not None:
            return [len(encoding) for encoding in fast.encode_batch_fast(texts, add_special_tokens=False)]
        return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]

    return count


def characters(conversation: Conversation) -> int:
    """Characters of all contents."""
    return sum(len(message.content) for message in conversation)


class Lengths:
    """Lengths of many conversations, fed in batches.

    With a counter the first EXACT are counted, and after them those whose estimate (characters times the tokens
    per character so far) comes near `limit`; the rest keep the estimate, and `estimated` says how many they are.
    Without a counter lengths are characters, and `limit` is taken as four characters per token.
    """

    def __init__(self, measure: Measure) -> None:
        self._counter = measure.counter
        self.unit = "tokens" if measure.counter else "characters"
        self.limit = measure.max_length if measure.counter else 4 * measure.max_length
        self.values = array("I")
        self.estimated = 0
        self._characters = self._tokens = 0

    def add(self, batch: Sequence[Conversation]) -> list[int]:
        """The lengths of a batch, in its order; they are appended to `values` too."""
        sizes = [characters(conversation) for conversation in batch]
        lengths = sizes if self._counter is None else self._count(batch, sizes, self._counter)
        self.values.extend(lengths)
        return lengths

    def _count(self, batch: Sequence[Conversation], sizes: list[int], counter: Counter) -> list[int]:
        if len(self.values) < EXACT:
            lengths = counter(batch)
            self._characters += sum(sizes)
            self._tokens += sum(lengths)
            return lengths
        ratio = self._tokens / max(1, self._characters)
        lengths = [max(1, round(size * ratio)) for size in sizes]
        close = [place for place, length in enumerate(lengths) if length > _NEAR_LIMIT * self.limit]
        for place, length in zip(close, counter([batch[place] for place in close]) if close else [], strict=True):
            lengths[place] = length
        self.estimated += len(batch) - len(close)
        return lengths
