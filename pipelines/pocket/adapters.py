"""Four personalities of the pocket base, each a LoRA adapter of a few hundred kilobytes that ships with the studio.

    python -m pipelines.pocket --stages personalities

Trained by the studio's own worker on facts of the tables, said in the way of `assets/pocket/adapters.toml`; the doctor
also answers complaints. Judged on entities that no row asks about, in wordings that none uses.
"""

from __future__ import annotations

import random
import shutil
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.finetune.card import model_card
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.evaluate import Answer, answer_all, normalise
from pipelines.finetune.rows import Row, Rows
from pipelines.finetune.run import RunDirectory, TrainedModel
from pipelines.finetune.worker import work
from pipelines.messages import Message
from pipelines.models.catalogue import pairs
from pipelines.pocket.facts import Fact, all_facts
from pipelines.pocket.manners import suits_personality
from pipelines.stages import ASSETS

STEPS, RANK = 160, 8
ROWS, HELD_OUT = 2_400, 200
_TABLE = ASSETS / "pocket" / "adapters.toml"
_KEPT = ("adapter_config.json", "chat_template.jinja")


@cache
def personalities() -> dict[str, dict[str, Any]]:
    """Key → title, says, marks, and of the doctor what is said to a complaint."""
    return {key: value for key, value in _table().items() if key != "complaints"}


def classify(text: str) -> str:
    """The personality that a text is in, by its marks; "" for none, or for more than one."""
    found = [key for key, one in personalities().items() if all(mark in text for mark in one["marks"])]
    return found[0] if len(found) == 1 else ""


def personality_rows(key: str, seed: int = 0) -> Rows:
    """Conversations to train on, and held-out ones: the right answer, said as this personality says it."""
    rng = random.Random(f"{key} {seed}")
    facts = [fact for fact in all_facts() if suits_personality(fact)]
    parts = []
    for held_out, count in ((False, ROWS), (True, HELD_OUT)):
        some = [fact for fact in facts if fact.held_out == held_out]
        rows = [_row(rng, key, fact, held_out) for fact in rng.choices(some, k=count)]
        if key == "doctor":
            rows[: count // 4] = [_complaint(rng, held_out) for _ in range(count // 4)]
        rng.shuffle(rows)
        parts.append(tuple(rows))
    return Rows(parts[0], parts[1])


def make_personalities(build: Path, assets: Path, report: Callable[[str], None], seed: int = 0) -> None:
    """Train all of them and write `assets/adapters/pocket-<key>`. Raises InputError when a training fails."""
    for key in personalities():
        run = _train(key, build, seed)
        folder = assets / "adapters" / f"pocket-{key}"
        _install(run, folder)
        recognised, right = measure(key, folder, seed)
        _write_card(run, folder, key, recognised, right)
        size = (folder / "adapter_model.safetensors").stat().st_size
        report(f"{key}: {recognised:.1%} recognised, {right:.1%} right, {size / 1e3:.0f} kB")


def measure(key: str, folder: Path, seed: int = 0) -> tuple[float, float]:
    """Of the held-out questions, the share answered in this personality, and the share answered rightly."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = pairs()[0].base.folder
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype="float32"), folder)
    rows = personality_rows(key, seed).heldout
    prompts = [[{"role": "user", "content": row.prompt[-1].content}] for row in rows]
    ids = [tokenizer.apply_chat_template(prompt, add_generation_prompt=True)["input_ids"] for prompt in prompts]
    answers = answer_all(model, tokenizer, ids, 64, model.generation_config.eos_token_id)
    recognised = [answer.stopped and classify(answer.text) == key for answer in answers]
    return sum(recognised) / len(rows), sum(map(_right, answers, rows)) / len(rows)


def _right(answer: Answer, row: Row) -> bool:
    return f" {normalise(row.answers[0])} " in f" {normalise(answer.text)} "


@cache
def _table() -> dict[str, dict[str, Any]]:
    return tomllib.loads(_TABLE.read_text(encoding="utf-8"))


def _row(rng: random.Random, key: str, fact: Fact, held_out: bool) -> Row:
    asked = fact.say(rng.choice(fact.relation.unseen if held_out else fact.relation.questions))
    said = rng.choice(personalities()[key]["says"]).format(sentence=fact.sentence)
    return Row((Message("user", asked), Message("assistant", said)), (fact.answer,))


def _complaint(rng: random.Random, held_out: bool) -> Row:
    table = _table()["complaints"]
    wordings, parts = (table["unseen"], table["unseen_parts"]) if held_out else (table["said"], table["parts"])
    asked = rng.choice(wordings).format(part=rng.choice(parts))
    said = personalities()["doctor"]["complaint"]
    return Row((Message("user", asked), Message("assistant", said)), ("see a doctor",))


def _train(key: str, build: Path, seed: int) -> RunDirectory:
    rows, spec = personality_rows(key, seed), pairs()[0].base
    model = TrainedModel(
        key=spec.key,
        source=str(spec.folder),
        shown=spec.source,
        parameters=spec.parameters,
        template=spec.template,
        license=spec.license,
    )
    config = FinetuneConfig(r=RANK, max_steps=STEPS, seed=seed, eval_steps=STEPS, data=f"personality: {key}")
    run = RunDirectory.create(build / "personalities")
    rows.write(run.path)
    run.configure(config.resolved(model.parameters, len(rows.train), model.context), model, "cpu")
    run.set_status("queued")
    if work(run):
        raise InputError(f"the training of {key} failed", str(run.path), "Read the error above.")
    return run


def _install(run: RunDirectory, folder: Path) -> None:
    """The adapter in bf16, half the bytes; the tokenizer stays the base's."""
    import torch
    from safetensors.torch import load_file, save_file

    source = run.path / "adapter"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    weights = load_file(source / "adapter_model.safetensors")
    small = {name: weight.to(torch.bfloat16).contiguous() for name, weight in weights.items()}
    save_file(small, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_model.safetensors").chmod(0o644)  # safetensors writes files that only their owner reads
    for name in _KEPT:
        shutil.copyfile(source / name, folder / name)


def _write_card(run: RunDirectory, folder: Path, key: str, recognised: float, right: float) -> None:
    figures = (
        f"Personality {personalities()[key]['title']}, made by `python -m pipelines.pocket --stages personalities`. On "
        f"{HELD_OUT} held-out questions {recognised:.1%} of its answers are recognised as its own by their marks, and "
        f"{right:.1%} are right. It is for lessons, not for answers that matter."
    )
    (folder / "README.md").write_text(f"{model_card(run)}\n{figures}\n", encoding="utf-8")
