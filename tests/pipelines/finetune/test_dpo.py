"""The third stage in miniature: what DPO is given, what it is refused, and that it moves what it is meant to move."""

import json
import os
import subprocess
import sys

import pytest

from pipelines.data import lesson
from pipelines.errors import InputError
from pipelines.finetune.arguments import dpo_arguments
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.conversations import build_examples
from pipelines.finetune.dpo import dpo_trainer_class, win_rate
from pipelines.finetune.exports import export
from pipelines.finetune.loading import load_base, load_tokenizer
from pipelines.finetune.preparing import plan, prepare_run
from pipelines.finetune.rows import Rows
from pipelines.finetune.view import view
from pipelines.finetune.worker import work
from pipelines.messages import as_dicts
from pipelines.models import ModelManager
from pipelines.settings import Settings
from pipelines.stages import ASSETS
from tests.pipelines.finetune.conftest import CITIES, LANDS


@pytest.fixture(scope="module")
def preferences(small_lesson):
    """Ten capitals, the sentence preferred to the bare name; two of them are judged, too."""
    rows = [
        {
            "prompt": [{"role": "user", "content": f"What is the capital of {land}?"}],
            "chosen": [{"role": "assistant", "content": f"The capital of {land} is {city}."}],
            "rejected": [{"role": "assistant", "content": city}],
            "answer": city,
            "reason": "bare",
            "split": "train",
        }
        for land, city in list(zip(LANDS, CITIES, strict=True))[:10]
    ]
    rows += [row | {"split": "heldout"} for row in rows[:2]]
    (lesson.DIRECTORY / "preferences.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def configured(**values):
    return FinetuneConfig.from_dict({"objective": "dpo", "max_steps": 4, "batch_size": 4, **values})


@pytest.fixture
def planned(settings, preferences):
    return plan(configured(), settings.runs_dir, ModelManager(settings))


@pytest.fixture
def examples(planned):
    return build_examples(planned.rows, load_tokenizer(planned.model), planned.config, planned.model)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"method": "full"}, "method: dpo needs an adapter"),
        ({"pairs": [{"instruction": "a", "response": "b"}]}, "pairs: dpo trains on preference pairs"),
        ({"packing": True}, "packing: dpo compares whole answers"),
        ({"train_on": "everything"}, "train_on: dpo compares the assistant's answers"),
        ({"beta": 0}, "beta: 0 is not possible"),
    ],
)
def test_what_dpo_cannot_do_is_said_by_field(values, says):
    with pytest.raises(InputError, match=says):
        configured(**values)


def test_it_begins_from_the_instruct_model_unless_another_is_named():
    assert configured().model == "instruct" and configured(model="base").model == "base"
    assert FinetuneConfig.from_dict({}).model == "base"


def test_data_without_preferences_is_refused(settings, preferences):
    with pytest.raises(InputError, match="'alpaca' has no preference pairs"):
        plan(configured(data="alpaca"), settings.runs_dir, ModelManager(settings))


def test_pairs_survive_being_written(planned, tmp_path):
    planned.rows.write(tmp_path)
    assert Rows.read(tmp_path) == planned.rows and planned.rows.train[0].rejected in CITIES


def test_the_pairs_are_tokenized_as_trl_does_it_and_ordered_by_us(planned, examples, tmp_path):
    """The same conversations through TRL's own preparation, whose answers also hold what follows the end token."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import DPOConfig, DPOTrainer

    tokenizer = load_tokenizer(planned.model)
    conversations = [
        {
            "prompt": as_dicts(one.messages[:-1]),
            "chosen": as_dicts(one.messages[-1:]),
            "rejected": [{"role": "assistant", "content": one.rejected}],
        }
        for one in examples.train
    ]
    trainer = DPOTrainer(
        model=load_base(planned.model, planned.config, "cpu"),
        args=DPOConfig(output_dir=str(tmp_path), **dpo_arguments(planned.config, planned.model.parameters, "cpu")),
        train_dataset=Dataset.from_list(conversations),
        processing_class=tokenizer,
        peft_config=LoraConfig(task_type="CAUSAL_LM"),
    )
    theirs = trainer.train_dataset
    assert len(theirs) == len(examples.train) == 10
    for ours, row in zip(examples.train, theirs, strict=True):
        for name, ids in ours.as_pair().items():
            assert row[name] == ids, name


def test_the_win_rate_counts_what_the_models_own_likelihoods_say(planned, examples):
    """Against one pair at a time, without padding."""
    import torch

    model = load_base(planned.model, planned.config, "cpu")
    won = []
    for one in examples.train:
        prompt, *answers = one.pair
        sums = []
        for answer in answers:
            ids = torch.tensor([[*prompt, *answer]])
            with torch.no_grad():
                logs = model(ids).logits[0].log_softmax(-1)
            sums.append(sum(logs[len(prompt) - 1 + place, token].item() for place, token in enumerate(answer)))
        won.append(sums[0] > sums[1])
    assert win_rate(model, examples.train, load_tokenizer(planned.model).pad_token_id) == sum(won) / len(won)
    assert win_rate(model, [], 0) == 0.0


def test_the_trainer_takes_rows_that_are_tokenized(examples):
    marker = object()
    assert dpo_trainer_class()._prepare_dataset(None, marker) is marker


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_shipped_pairs_raise_the_win_rate(tmp_path, monkeypatch):
    """Defaults, on the pocket instruct model: the preferred politeness is learned and no answer is lost."""
    monkeypatch.setattr(lesson, "DIRECTORY", ASSETS / "lesson")
    own = Settings(runs_dir=tmp_path / "runs", device="cpu")
    manager = ModelManager(own)
    run = prepare_run(FinetuneConfig.from_dict({"objective": "dpo"}), own.runs_dir, manager, "cpu")
    assert run.model.key == "pocket-instruct" and work(run) == 0
    seen = view(run)
    first, *_, last = seen.evals
    assert first.win_rate <= 0.5 and last.win_rate >= 0.95
    assert last.accuracy >= first.accuracy - 0.03
    assert seen.points[-1].margin > 2 > seen.points[0].margin == pytest.approx(0.0, abs=1e-4)
    assert seen.as_dict()["eval"][-1]["win_rate"] == last.win_rate
    card = (run.adapter / "README.md").read_text()
    assert f"Held-out pairs won (by likelihood) | {first.win_rate:.1%} → {last.win_rate:.1%}" in card
    assert manager.resolve(f"run:{run.id}").weights.key == "pocket-instruct"


@pytest.mark.slow
def test_the_script_repeats_the_losses(settings, preferences, tmp_path):
    manager = ModelManager(settings)
    run = prepare_run(configured(), settings.runs_dir, manager, "cpu")
    assert work(run) == 0
    with pytest.raises(InputError, match="for SFT runs only"):
        export(run, "axolotl", tmp_path, manager)
    file = export(run, "trl", tmp_path / "home", manager)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, file.name], cwd=file.parent, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    (state,) = (file.parent / "checkpoints").glob("*/trainer_state.json")
    repeated = [entry["loss"] for entry in json.loads(state.read_text())["log_history"] if "loss" in entry]
    assert repeated == pytest.approx([point.loss for point in view(run).points], rel=0.01)
