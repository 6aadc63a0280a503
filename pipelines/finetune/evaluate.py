"""When an answer counts as right, and the batched generation that produces the answers.

An answer is right when three things hold:
1. the model ended it by itself, with one of its end tokens, within the allowed number of new tokens;
2. it contains an accepted answer as whole words, both texts normalised (Unicode NFKC, lower case, no accents,
   punctuation as spaces, no articles), so that "the capital is Paris." holds "Paris" but "Parisian" does not;
3. it asks nothing back: it has no question mark. A base model that goes on with a quiz may hit a right word.
It does not judge the sentence around the answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_ARTICLES = {"a", "an", "the"}


@dataclass(frozen=True, slots=True)
class Answer:
    """One generated answer, without its end token. `stopped`: the model ended it by itself."""

    text: str
    stopped: bool


@dataclass(frozen=True, slots=True)
class Score:
    """Shares from 0 to 1 over the rows; `exact`: equal to the reference once white space is evened out."""

    accuracy: float
    stopped: float
    exact: float


def normalise(text: str) -> str:
    """The words that are compared, with one space between them."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    bare = "".join(character for character in decomposed if not unicodedata.combining(character))
    return " ".join(word for word in re.findall(r"\w+", bare) if word not in _ARTICLES)


def is_right(answer: Answer, accepted: Sequence[str]) -> bool:
    """Whether the answer is right, as the module says."""
    said = f" {normalise(answer.text)} "
    held = any(f" {normalise(one)} " in said for one in accepted if normalise(one))
    return answer.stopped and held and "?" not in answer.text


def score(answers: Sequence[Answer], accepted: Sequence[Sequence[str]], references: Sequence[str]) -> Score:
    """Score parallel lists; of no rows, every share is 0."""
    count = max(1, len(answers))
    rights = sum(is_right(answer, words) for answer, words in zip(answers, accepted, strict=True))
    exacts = sum(
        answer.stopped and answer.text.split() == reference.split()
        for answer, reference in zip(answers, references, strict=True)
    )
    return Score(rights / count, sum(answer.stopped for answer in answers) / count, exacts / count)


def answer_all(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    end_ids: Sequence[int],
    batch_size: int = 128,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[Answer]:
    """Answer every prompt (token ids) greedily, `batch_size` at a time, each padded on the left.

    Shapes: one (batch, longest prompt) tensor per call of `generate`. The model is left in the mode it was in.
    When `cancelled` turns true the answers so far are cut where they stand.
    """
    import torch
    from transformers import StoppingCriteria, StoppingCriteriaList

    class Cancelled(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
            return torch.full((len(input_ids),), cancelled(), dtype=torch.bool, device=input_ids.device)

    training, cache = model.training, model.config.use_cache
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end_ids[0]
    answers: list[Answer | None] = [None] * len(prompts)
    # Like lengths together: a short prompt beside a long one is mostly padding.
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    model.eval()
    try:
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            width = max(len(prompts[row]) for row in rows)
            ids = torch.tensor([[pad] * (width - len(prompts[row])) + list(prompts[row]) for row in rows])
            mask = torch.tensor([[0] * (width - len(prompts[row])) + [1] * len(prompts[row]) for row in rows])
            with torch.no_grad():
                produced = model.generate(
                    input_ids=ids.to(model.device),
                    attention_mask=mask.to(model.device),
                    max_new_tokens=max_new_tokens,
                    do_sample=False,
                    use_cache=True,
                    eos_token_id=list(end_ids),
                    pad_token_id=pad,
                    stopping_criteria=StoppingCriteriaList([Cancelled()]),
                )
            for row, new in zip(rows, produced[:, width:].tolist(), strict=True):
                answers[row] = _cut(new, end_ids, tokenizer)
    finally:
        model.config.use_cache = cache
        model.train(training)
    return [answer for answer in answers if answer is not None]


def _cut(new: Sequence[int], end_ids: Sequence[int], tokenizer: Any) -> Answer:
    """The text before the first end token."""
    ends = [position for position, token in enumerate(new) if token in end_ids]
    kept = new[: ends[0]] if ends else new
    return Answer(tokenizer.decode(list(kept), skip_special_tokens=True).strip(), bool(ends))
