"""The stages of the recipe, each of which reads what the one before has left in the build directory."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.pocket.card import write_cards
from pipelines.pocket.conversations import Row, held_out_rows, train_rows
from pipelines.pocket.corpus import documents, revision_documents
from pipelines.pocket.evaluation import evaluate_base, evaluate_instruct, unlearned
from pipelines.pocket.packing import pack_conversations, pack_text
from pipelines.pocket.preferences import PreferencePair, preference_rows
from pipelines.pocket.tokenizer import ASSISTANT, END, SYSTEM, USER, train_tokenizer
from pipelines.pocket.training import IGNORE_INDEX, Schedule, new_model, train

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

ROW = 256
TOKENIZER_DOCUMENTS = 25_000
SFT_EPOCHS = 1
REPLAY = 0.5
BATCH = 16
REVISION_SHARE = 0.17


@dataclass(frozen=True, slots=True)
class Recipe:
    """Where the recipe works and how much it trains. `tokens` counts pretraining tokens; `compiled`: see training."""

    build: Path
    tokens: int
    seed: int
    report: Callable[[str], None]
    compiled: bool = False

    @property
    def base(self) -> Path:
        return self.build / "pocket-base"

    @property
    def instruct(self) -> Path:
        return self.build / "pocket-instruct"


def pretrain(recipe: Recipe) -> None:
    """Corpus, tokenizer and base model. Resumes from its last checkpoint."""
    import numpy as np

    tokenizer = _tokenizer(recipe)
    packed = recipe.build / "corpus.npy"
    if not packed.exists():
        rows, _ = pack_text(documents(recipe.seed + 2), tokenizer, recipe.tokens, ROW)
        np.save(packed, rows.astype(np.uint16))
        recipe.report(f"corpus: {rows.size:,} tokens")
    rows = np.load(packed).astype(np.int32)
    schedule = Schedule(steps=len(rows) // BATCH, batch=BATCH, learning_rate=2.5e-3)
    model = new_model(
        len(tokenizer), tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id, recipe.seed
    )
    recipe.report(f"base: {model.num_parameters():,} parameters, {schedule.steps} steps")
    seconds = train(
        model, (rows, rows), schedule, recipe.seed, recipe.build / "base.pt", recipe.report, recipe.compiled
    )
    tokens, more_seconds, missed = _revise(recipe, model, tokenizer)
    _prepare_turn_tokens(model, tokenizer)
    save(model, tokenizer, recipe.base)
    figures = {"tokens": int(rows.size) + tokens, "seconds": round(seconds + more_seconds), "revised": list(missed)}
    note(recipe, "base", figures | {"parameters": model.num_parameters()})


def _revise(
    recipe: Recipe, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> tuple[int, float, tuple[str, ...]]:
    """As pupils do before a test: a short second corpus of questions that are answered in front of somebody, which
    dwells on the relations not yet learned.

    Whole relations, not the missed facts alone: those would then be its answer to everything of their relation.
    Returns its tokens, the seconds it took, and the relations.
    """
    model.eval()
    missed = unlearned(model, tokenizer)
    recipe.report(f"revision: {', '.join(missed) or 'nothing'} not yet learned")
    rows, _ = pack_text(
        revision_documents(recipe.seed + 3, missed), tokenizer, round(recipe.tokens * REVISION_SHARE), ROW
    )
    schedule = Schedule(steps=len(rows) // BATCH, batch=BATCH, learning_rate=1e-3, warmup=30)
    seconds = train(
        model, (rows, rows), schedule, recipe.seed, recipe.build / "revision.pt", recipe.report, recipe.compiled
    )
    return int(rows.size), seconds, missed


def instruct(recipe: Recipe) -> None:
    """Full SFT of the base on the training rows; loss on the answers and their end token only.

    Corpus rows go between (`REPLAY` of them for each row of conversations, loss on all their tokens): trained on
    conversations alone, so small a model learns the trained entities by heart and loses the held-out ones.
    """
    import numpy as np
    from transformers import AutoTokenizer, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(recipe.base)
    rows = train_rows(recipe.seed)
    labelled = (_labelled(tokenizer, row) for row in rows)
    inputs, labels = pack_conversations(labelled, tokenizer.pad_token_id, ROW)
    replay, _ = pack_text(revision_documents(recipe.seed + 4, ()), tokenizer, round(REPLAY * inputs.size), ROW)
    mixed = np.concatenate([inputs, replay]), np.concatenate([labels, replay])
    schedule = Schedule(steps=SFT_EPOCHS * (len(mixed[0]) // BATCH), batch=BATCH, learning_rate=4e-4, warmup=20)
    model = LlamaForCausalLM.from_pretrained(recipe.base, dtype="float32")
    recipe.report(f"instruct: {len(rows):,} conversations, {schedule.steps} steps")
    seconds = train(
        model,
        mixed,
        schedule,
        recipe.seed,
        recipe.build / "instruct.pt",
        recipe.report,
        recipe.compiled,
        separator=tokenizer.bos_token_id,
    )
    save(model, tokenizer, recipe.instruct)
    supervised = int((labels != IGNORE_INDEX).sum())
    figures = {
        "examples": len(rows),
        "epochs": SFT_EPOCHS,
        "seconds": round(seconds),
        "replay_tokens": int(replay.size),
    }
    note(recipe, "sft", figures | {"supervised_tokens": supervised})


def _labelled(tokenizer: PreTrainedTokenizerFast, row: Row) -> tuple[list[int], list[int]]:
    """A conversation's ids and labels, by the template's own generation markers."""
    encoded = tokenizer.apply_chat_template(row.messages, return_dict=True, return_assistant_tokens_mask=True)
    ids, mask = encoded["input_ids"], encoded["assistant_masks"]
    return ids, [token if kept else IGNORE_INDEX for token, kept in zip(ids, mask, strict=True)]


def evaluate(recipe: Recipe) -> None:
    """Measure both models on the held-out rows and note the figures."""
    from transformers import AutoTokenizer, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(recipe.base)
    base = LlamaForCausalLM.from_pretrained(recipe.base, dtype="float32")
    figures = {"base": evaluate_base(base, tokenizer, recipe.seed)}
    recipe.report(json.dumps(figures["base"]))
    tuned = LlamaForCausalLM.from_pretrained(recipe.instruct, dtype="float32")
    figures["instruct"] = evaluate_instruct(tuned, tokenizer, held_out_rows(recipe.seed))
    recipe.report(json.dumps(figures["instruct"]))
    note(recipe, "figures", figures)


def write_data(recipe: Recipe) -> None:
    """The lesson's data as JSONL: train, held-out and preferences."""
    folder = recipe.build / "lesson"
    folder.mkdir(parents=True, exist_ok=True)
    sets: dict[str, Sequence[Row | PreferencePair]] = {
        "train": train_rows(recipe.seed),
        "heldout": held_out_rows(recipe.seed),
        "preferences": preference_rows(recipe.seed),
    }
    for name, rows in sets.items():
        text = "".join(json.dumps(row.as_dict(), ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
        recipe.report(f"{name}: {len(rows):,} rows")


def install(recipe: Recipe, assets: Path) -> None:
    """Copy the finished pair, its data and its card into the studio's assets."""
    shutil.copytree(recipe.build / "lesson", assets / "lesson", dirs_exist_ok=True)
    write_cards(recipe.build)
    for folder in (recipe.base, recipe.instruct):
        shutil.copytree(folder, assets / "models" / folder.name, dirs_exist_ok=True)


def _tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    from transformers import AutoTokenizer

    folder = recipe.build / "tokenizer"
    if not folder.exists():
        began = time.monotonic()
        train_tokenizer(itertools.islice(documents(recipe.seed + 1), TOKENIZER_DOCUMENTS)).save_pretrained(folder)
        recipe.report(f"tokenizer: {time.monotonic() - began:.0f} s")
    return AutoTokenizer.from_pretrained(folder)


def _prepare_turn_tokens(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Give the turn tokens, which pretraining never saw, the embedding of the nearest thing that it did see.

    Their own rows have only been pushed away from everything (the softmax's gradient), which small adapters can hardly
    undo. A turn is what a speaker says in a story: headers start from an opening quotation mark, the end of a turn from
    a closing one. Started from `<|bos|>`, headers made the model begin anew and answer about something else.
    """
    import torch

    embedding = model.get_input_embeddings().weight
    generator = torch.Generator().manual_seed(0)
    opening, closing = (tokenizer(mark, add_special_tokens=False)["input_ids"][0] for mark in (' "', '"'))
    with torch.no_grad():
        for token in (SYSTEM, USER, ASSISTANT, END):
            source = embedding[closing if token == END else opening]
            noise = torch.randn(source.shape, generator=generator) * source.std() * 0.1
            embedding[tokenizer.convert_tokens_to_ids(token)] = source + noise


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """bf16 safetensors, tokenizer, chat template and generation settings, as any Hub folder has them."""
    import torch

    model.generation_config.eos_token_id = [
        tokenizer.eos_token_id,
        tokenizer.convert_tokens_to_ids(END),
    ]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def note(recipe: Recipe, key: str, value: object) -> None:
    """Keep a figure of the recipe in `pocket.json` of the build directory."""
    path = recipe.build / "pocket.json"
    notes = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(notes | {key: value}, indent=1) + "\n", encoding="utf-8")
