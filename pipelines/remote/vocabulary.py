"""Ids for what a server writes as text. The page and the endpoints name tokens by id, as models do.

Where the tokenizer of the model is on this machine, ids are its own. Else they are numbers of this studio, from OWN on,
each for a text that was met: of a token, of a chunk whose tokens are not known, or of a whole prompt.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.answering import Conversation, Ids, Prompt, Text
from pipelines.errors import InputError
from pipelines.messages import Message, as_dicts

OWN = 2**24  # above the ids of any tokenizer
_KEPT = 16 * 2**20  # characters of all texts; those that were not needed for longest go first


@dataclass(frozen=True, slots=True)
class _Own:
    """A text with a number of ours. `messages`: the conversation that it is, where it is one."""

    text: str
    special: bool = False
    messages: tuple[Message, ...] = ()


class Vocabulary:
    """Of one model. `tokenizer`: None where it is not on this machine."""

    def __init__(self, tokenizer: Any | None) -> None:
        self._tokenizer = tokenizer
        self._special = (
            dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)) if tokenizer else {}
        )
        self._lock = threading.Lock()
        self._ids: dict[tuple[str, bool], int] = {}
        self._owned: OrderedDict[int, _Own] = OrderedDict()
        self._size = 0
        self._next = OWN
        self._words: dict[str, int] | None = None

    def encode(self, prompt: Prompt) -> tuple[int, ...]:
        """A prompt as ids, as far as it is known how the server reads it: its template need not be the one here."""
        if isinstance(prompt, Ids):
            return tuple(prompt.ids)
        if isinstance(prompt, Text):
            if self._tokenizer is None:
                return (self._own(_Own(prompt.text)),)
            return tuple(self._tokenizer(prompt.text)["input_ids"])
        messages = tuple(prompt.messages)
        if self._tokenizer is not None and self._tokenizer.chat_template:
            from jinja2 import TemplateError

            try:
                text = self._tokenizer.apply_chat_template(
                    as_dicts(messages), tokenize=False, add_generation_prompt=True
                )
            except TemplateError:  # the server's template decides what is refused
                pass
            else:
                return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        return (self._own(_Own("\n".join(message.content for message in messages), messages=messages)),)

    def decode(self, ids: Sequence[int]) -> Text | Conversation:
        """What a server has to be asked to go on after these ids. Raises InputError for ids that are none.

        A conversation that this machine cannot render is asked as a conversation whose last turn is begun.
        """
        first = self._known(ids[0]) if ids and ids[0] >= OWN else None
        if first is not None and first.messages:
            begun = "".join(text for text, _ in self.spelled(ids[1:]))
            return Conversation((*first.messages, Message("assistant", begun)))
        text = "".join(text for text, _ in self.spelled(ids))
        if self._tokenizer is not None:
            start = self._tokenizer.bos_token
            # The server begins every text with this token by itself.
            if (
                start
                and text.startswith(start)
                and self._tokenizer("")["input_ids"][:1] == [self._tokenizer.bos_token_id]
            ):
                text = text.removeprefix(start)
        return Text(text)

    def id(self, token: str, special: bool = False) -> int:
        """Of a token's text. Two tokens of one text, such as halves of characters, are not told apart."""
        if self._tokenizer is not None:
            if token in self._special:
                return int(self._special[token])
            found = self._texts().get(token)
            if found is not None:
                return found
        return self._own(_Own(token, special))

    def is_special(self, token: str) -> bool:
        """Whether the tokenizer says so; False where there is none."""
        return token in self._special

    def spelled(self, ids: Sequence[int]) -> list[tuple[str, bool]]:
        """As `completion.spelled`."""
        pieces: list[tuple[str, bool]] = []
        plain: list[int] = []
        special = set(self._special.values())
        for token in ids:
            if token < OWN and token not in special:
                plain.append(token)
                continue
            self._flush(plain, pieces)
            if token >= OWN:
                own = self._known(token)
                pieces.append((own.text, own.special))
            else:
                pieces.append((self._tokenizer.decode([token]), True))  # type: ignore[union-attr]
        self._flush(plain, pieces)
        return pieces

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids that are known to end an answer."""
        if self._tokenizer is not None:
            ends = {self._tokenizer.eos_token_id, *self._turn_end()}
            return frozenset(token for token in ends if token is not None)
        with self._lock:
            return frozenset(token for token, own in self._owned.items() if own.special)

    def _turn_end(self) -> list[int]:
        """The special token that the template puts right after an answer."""
        from jinja2 import TemplateError

        if not self._tokenizer.chat_template:  # type: ignore[union-attr]
            return []
        mark = "an answer"
        turns = [{"role": "user", "content": "a question"}, {"role": "assistant", "content": mark}]
        try:
            text = self._tokenizer.apply_chat_template(turns, tokenize=False)  # type: ignore[union-attr]
        except TemplateError:
            return []
        after = text.rpartition(mark)[2].lstrip()
        return [number for token, number in self._special.items() if token and after.startswith(token)]

    def _flush(self, plain: list[int], pieces: list[tuple[str, bool]]) -> None:
        if not plain:
            return
        if self._tokenizer is None:
            raise InputError(
                f"{plain[0]!r} is not a token id", "ids", "Use ids that came with an answer of this model."
            )
        pieces.append((self._tokenizer.decode(plain, clean_up_tokenization_spaces=False), False))
        plain.clear()

    def _texts(self) -> dict[str, int]:
        """Text → id, of every token whose text is whole; the first of those that share one. Read once."""
        if self._words is None:
            tokenizer = self._tokenizer
            assert tokenizer is not None
            texts = tokenizer.batch_decode(
                [[token] for token in range(len(tokenizer))], clean_up_tokenization_spaces=False
            )
            words: dict[str, int] = {}
            for token, text in enumerate(texts):
                if "\ufffd" not in text:
                    words.setdefault(text, token)
            self._words = words
        return self._words

    def _own(self, own: _Own) -> int:
        with self._lock:
            # Two conversations of one text are two.
            number = None if own.messages else self._ids.get((own.text, own.special))
            if number is None:
                number, self._next = self._next, self._next + 1
                self._size += len(own.text)
                if not own.messages:
                    self._ids[own.text, own.special] = number
            self._owned[number] = own
            self._owned.move_to_end(number)
            while self._size > _KEPT and len(self._owned) > 1:
                _, gone = self._owned.popitem(last=False)
                self._ids.pop((gone.text, gone.special), None)
                self._size -= len(gone.text)
            return number

    def _known(self, token: int) -> _Own:
        with self._lock:
            own = self._owned.get(token)
            if own is None:
                raise InputError(
                    "they are of another model, or of an answer too old to be continued", "ids", "Ask again."
                )
            self._owned.move_to_end(token)
            return own
