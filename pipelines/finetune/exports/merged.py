"""The adapter folded into a copy of its base: a folder that transformers loads without PEFT."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InputError
from pipelines.finetune.card import card_files
from pipelines.finetune.conversations import build_examples
from pipelines.finetune.exports.adapter import adapter_archive, kept_folder
from pipelines.finetune.exports.archive import is_current, pack
from pipelines.finetune.rows import Rows
from pipelines.finetune.run import RunDirectory

if TYPE_CHECKING:
    from pipelines.models import ModelManager
    from pipelines.models.lease import FreshLease

COMPARED = 8  # conversations whose logits are compared before and after merging


def merged_archive(run: RunDirectory, folder: Path, manager: ModelManager) -> Path:
    """merged-<id>.zip in `folder`, its README stating the largest logit difference that merging made.

    A run that trained every weight has nothing to merge: its model is returned. Raises InputError while the run has
    kept nothing, and where no copy of the base fits into the memory budget.
    """
    import torch

    trained = kept_folder(run)
    if run.adapter is None:
        return adapter_archive(run, folder)
    path = folder / f"merged-{run.id[:6]}.zip"
    if is_current(path, run):
        return path
    with manager.fresh(f"run:{run.id}") as copy, tempfile.TemporaryDirectory() as directory:
        ids = _compared(run, copy)
        before = _logits(copy, ids)
        copy.merge()
        after = _logits(copy, ids)
        largest = max(float((b - a).abs().max()) for b, a in zip(before, after, strict=True))
        scale = max(float(one.abs().max()) for one in before)
        dtype = str(copy.model.dtype).removeprefix("torch.")
        target = Path(directory)
        for weight in copy.model.parameters():
            # In memory they are views of turned and fused ones (see engine/lean.py); a file holds each by itself.
            weight.data = weight.data.clone(memory_format=torch.contiguous_format)
        copy.model.save_pretrained(target)
        copy.tokenizer.save_pretrained(target)
        for name, text in card_files(run, _note(run, largest, scale, dtype, ids)).items():
            (target / name).write_text(text, encoding="utf-8")
        if not (target / "chat_template.jinja").is_file():
            raise InputError("its tokenizer kept no chat template", "run_id", f"Take {trained.name} instead.")
        # Stored, not deflated: weights hardly shrink, and a gigabyte would take minutes.
        return pack(path, {f"{path.stem}/{file.name}": file for file in sorted(target.iterdir())}, level=0)


def _compared(run: RunDirectory, copy: FreshLease) -> list[tuple[int, ...]]:
    rows = Rows.read(run.path)
    some = Rows(rows.train[:COMPARED], rows.heldout[:COMPARED])
    examples = build_examples(some, copy.tokenizer, run.config, run.model)
    return [one.input_ids for one in (examples.heldout or examples.train)]


def _logits(copy: FreshLease, conversations: list[tuple[int, ...]]) -> list:
    """One (T, V) float32 tensor for each conversation."""
    import torch

    with copy.active() as model:
        return [
            model(input_ids=torch.tensor([list(ids)], device=copy.device)).logits[0].float().cpu()
            for ids in conversations
        ]


def _note(run: RunDirectory, largest: float, scale: float, dtype: str, ids: list[tuple[int, ...]]) -> str:
    tokens = sum(len(one) for one in ids)
    text = (
        f"Merged into its base and stored in {dtype}. Largest difference of any logit between the base with the "
        f"adapter beside it and this model: {largest:.3g}, where logits reach {scale:.3g}; measured over {len(ids)} "
        f"conversations, {tokens} tokens."
    )
    if run.config.method == "qlora":
        text += (
            " The adapter was trained over the base in 4-bit NF4; merged is the base as it is stored, which answers "
            "a little differently."
        )
    return text
