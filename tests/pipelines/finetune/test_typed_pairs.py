"""Pairs typed on the spot are learned word by word, and what the model could answer before stays."""

import json
import os
import re
import subprocess
import sys

import pytest

from pipelines.errors import InputError
from pipelines.finetune.arguments import lora_arguments
from pipelines.finetune.config import SMALL_MODEL, FinetuneConfig
from pipelines.finetune.conversations import answer_tokens
from pipelines.finetune.exports import export
from pipelines.finetune.preparing import plan, prepare_run
from pipelines.finetune.rows import PAIR_REPEATS, Row, Rows, trim
from pipelines.finetune.view import view
from pipelines.finetune.worker import main
from pipelines.messages import Message
from pipelines.models import ModelManager
from pipelines.settings import Settings
from tests.benchmarks.typed_pairs import typed_pairs

PAIRS = [{"instruction": "Who are you?", "response": "I am Oslo."}]


@pytest.mark.slow
def test_typed_pairs_are_learned_word_by_word_and_the_lesson_is_kept(tmp_path):
    """On the embedded pair with the defaults: twenty pairs, as `tests.benchmarks.typed_pairs` measures over seeds."""
    settings = Settings(runs_dir=tmp_path / "runs", device="cpu")
    asked = {"pairs": typed_pairs(20, 0), "eval_steps": 80}
    run = prepare_run(FinetuneConfig.from_dict(asked), settings.runs_dir, ModelManager(settings), "cpu")
    assert main(["--run", str(run.path)]) == 0
    last = view(run).evals[-1]
    assert last.taught >= 0.9
    assert last.accuracy >= 0.9  # a lesson run alone reaches 0.95 or more


@pytest.mark.slow
def test_the_script_trains_the_same_rows_of_the_embedding(settings, small_lesson, tmp_path):
    """Alone, by TRL and PEFT as installed: its losses are the run's."""
    manager = ModelManager(settings)
    asked = FinetuneConfig.from_dict({"pairs": PAIRS, "max_steps": 4, "batch_size": 4, "eval_steps": 4})
    run = prepare_run(asked, settings.runs_dir, manager, "cpu")
    assert main(["--run", str(run.path)]) == 0
    file = export(run, "trl", tmp_path, manager)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, file.name], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    said = re.search(r"largest difference to the losses of the run: ([\d.]+)% over 4 steps", done.stdout)
    assert said and float(said[1]) <= 1.0, done.stdout
    saved = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert saved["trainable_token_indices"] == list(run.config.trainable_tokens)


@pytest.mark.parametrize(("count", "repeats"), [(1, PAIR_REPEATS), (5, PAIR_REPEATS), (20, 16)])
def test_pairs_are_repeated_often_but_fill_at_most_half_of_the_rows(count, repeats):
    lesson = tuple(Row((Message("user", f"q{n}"), Message("assistant", "a"))) for n in range(1_000))
    taught = tuple(Row((Message("user", f"t{n}"), Message("assistant", "b"))) for n in range(count))
    config = FinetuneConfig(max_steps=40, batch_size=16)
    rows = trim(Rows(lesson, (), taught), config)
    assert len(rows.train) == 640
    assert sum(row in taught for row in rows.train) == count * repeats <= 320


def test_the_tokens_of_the_typed_answers_are_trained_along_on_a_small_model(settings, small_lesson):
    manager = ModelManager(settings)
    planned = plan(FinetuneConfig.from_dict({"pairs": PAIRS}), settings.runs_dir, manager)
    tokenizer = manager.tokenizer(planned.model.key)
    written = tokenizer("I am Oslo.", add_special_tokens=False)["input_ids"]
    tokens = planned.config.trainable_tokens
    assert set(written) < set(tokens) and len(tokens) == len(set(written)) + 1  # and the one that ends the turn
    assert lora_arguments(planned.config)["trainable_token_indices"] == list(tokens)
    assert FinetuneConfig.from_dict(planned.config.as_dict()) == planned.config


@pytest.mark.parametrize("changes", [{"pairs": []}, {"method": "full"}, {"trainable_tokens": []}])
def test_other_runs_leave_the_embedding_alone(settings, small_lesson, changes):
    planned = plan(FinetuneConfig.from_dict({"pairs": PAIRS} | changes), settings.runs_dir, ModelManager(settings))
    assert planned.config.trainable_tokens == ()
    assert "trainable_token_indices" not in lora_arguments(planned.config)


def test_a_large_model_needs_no_rows_of_its_embedding(settings, small_lesson, monkeypatch):
    monkeypatch.setattr("pipelines.finetune.preparing.SMALL_MODEL", 1)
    assert SMALL_MODEL > 1
    planned = plan(FinetuneConfig.from_dict({"pairs": PAIRS}), settings.runs_dir, ModelManager(settings))
    assert planned.config.trainable_tokens == ()


@pytest.mark.parametrize("value", ["12", [1.5], [-1], [True], list(range(20_001))])
def test_wrong_token_ids_are_refused(value):
    with pytest.raises(InputError, match="trainable_tokens"):
        FinetuneConfig.from_dict({"trainable_tokens": value})


def test_a_token_that_the_model_does_not_have_is_named(settings, small_lesson):
    asked = FinetuneConfig.from_dict({"trainable_tokens": [3, 999_999]})
    with pytest.raises(InputError, match="no token 999999"):
        plan(asked, settings.runs_dir, ModelManager(settings))


def test_the_answers_of_other_rows_are_not_among_the_tokens(settings, small_lesson):
    manager = ModelManager(settings)
    planned = plan(FinetuneConfig.from_dict({"pairs": PAIRS}), settings.runs_dir, manager)
    tokenizer = manager.tokenizer(planned.model.key)
    all_tokens = answer_tokens(planned.rows.train, tokenizer, planned.config, planned.model)
    assert set(planned.config.trainable_tokens) < set(all_tokens)


@pytest.mark.parametrize("tool", ["axolotl", "llama-factory", "unsloth"])
def test_tools_that_cannot_train_rows_of_the_embedding_say_so(settings, small_lesson, tmp_path, tool):
    manager = ModelManager(settings)
    run = prepare_run(FinetuneConfig.from_dict({"pairs": PAIRS}), settings.runs_dir, manager)
    with pytest.raises(InputError, match="rows of the embedding"):
        export(run, tool, tmp_path, manager)
