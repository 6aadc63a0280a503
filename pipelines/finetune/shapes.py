"""The amounts that decide what a run takes: lengths in tokens, rows that are looked at, shapes of the model.

Read from a sample of the rows, so that a form can say them while somebody types.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.conversations import MAX_NEW_TOKENS, SPARE_TOKENS, training_template
from pipelines.finetune.rows import Row, Rows
from pipelines.finetune.run import TrainedModel
from pipelines.messages import Message
from pipelines.templates import TemplateEntry, render

if TYPE_CHECKING:
    from pipelines.architecture import Architecture

SAMPLED = 48  # rows; evenly spread
CHARACTERS_PER_TOKEN = 4.0  # where there is no tokenizer to ask yet: English under vocabularies of 32,000 and more
PROMPTS = 4  # sample prompts that are answered beside the held-out rows


@dataclass(frozen=True, slots=True)
class Shapes:
    """Tokens of the sampled rows (the mean, and the longest), and what a look at the held-out rows answers.

    mean_length, longest: tokens of one conversation, cut at `max_length`
    looked_at:      rows that are answered at a look; max_new_tokens: of each answer at most
    bytes_on_disk:  of the base's weights
    """

    mean_length: float
    longest: int
    looked_at: int
    max_new_tokens: int
    bytes_on_disk: int
    architecture: Architecture | None


def shapes_of(config: FinetuneConfig, model: TrainedModel, rows: Rows, tokenizer: Callable[[], Any]) -> Shapes:
    """Of a resolved configuration. `tokenizer`: gives the base's; one that cannot be had is done without."""
    sample = list(rows.train[:: max(1, len(rows.train) // SAMPLED)])
    answers = [row.reference for row in (*rows.heldout[:SAMPLED], *rows.taught)]
    lengths, answered = _counted(model, sample, answers, tokenizer)
    kept = [min(length, config.max_length or length) for length in lengths] or [1]
    low, high = MAX_NEW_TOKENS
    return Shapes(
        statistics.fmean(kept),
        max(kept),
        len(rows.heldout) + len(rows.taught) + PROMPTS,
        min(high, max(low, SPARE_TOKENS + max(answered, default=0))),
        _bytes_on_disk(model),
        _architecture(model),
    )


def _counted(
    model: TrainedModel, sample: Sequence[Row], answers: Sequence[str], tokenizer: Callable[[], Any]
) -> tuple[list[int], list[int]]:
    """Tokens of each rendered conversation, and of each answer."""
    try:
        own = tokenizer()
        template = training_template(own, model.template)
        texts = [_rendered(row, template) for row in sample]
    except (InputError, OSError):
        texts = ["\n".join(message.content for message in row.messages) for row in sample]
        return ([int(len(text) / CHARACTERS_PER_TOKEN) + 8 for text in texts],
                [int(len(text) / CHARACTERS_PER_TOKEN) for text in answers])  # fmt: skip
    if not texts:
        return [], []
    ids = own([*texts, *answers], add_special_tokens=False)["input_ids"]
    return [len(one) for one in ids[: len(texts)]], [len(one) for one in ids[len(texts) :]]


def _rendered(row: Row, template: TemplateEntry) -> str:
    """A preference pair counts as its longer side."""
    sides = [row.messages]
    if row.rejected:
        sides.append((*row.prompt, Message("assistant", row.rejected)))
    return max((render(side, template).text for side in sides), key=len)


def _bytes_on_disk(model: TrainedModel) -> int:
    folder = Path(model.source)
    if not folder.is_dir():
        return 2 * model.parameters
    return sum(path.stat().st_size for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))


def _architecture(model: TrainedModel) -> Architecture | None:
    from pipelines.architecture import architecture

    described = Path(model.source) / "config.json"
    try:
        return architecture(described.read_text(encoding="utf-8") if described.is_file() else model.source)
    except InputError:
        return None
