"""Room on the disk is checked before a run is accepted, with what it needs, what is left, and what to do."""

import os
import shutil
from collections import namedtuple
from dataclasses import replace

import pytest

from pipelines.errors import InputError
from pipelines.finetune import FinetuneService, disk
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.disk import BUDGET, RESERVE, budget, check_room, needed
from pipelines.finetune.prediction import Prediction
from pipelines.finetune.preparing import prepare_run
from pipelines.finetune.rows import Row, Rows
from pipelines.finetune.run import RunDirectory, TrainedModel
from pipelines.messages import Message
from pipelines.models import ModelManager

Usage = namedtuple("Usage", "total used free")
MIB = 2**20
MODEL = TrainedModel("m", "nowhere/none", "m", parameters=1_000_000)


@pytest.fixture
def free(monkeypatch):
    """Sets what the disk has left, in bytes beyond the reserve."""

    def leave(count):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, RESERVE + count))

    return leave


def test_a_run_that_does_not_fit_on_the_disk_says_what_it_needs_and_what_to_do(tmp_path, free):
    free(90 * MIB)
    with pytest.raises(InputError) as told:
        check_room(tmp_path / "runs", 100 * MIB, BUDGET)
    said = str(told.value)
    assert "needs up to 100 MiB" in said and "90 MiB are left on the disk" in said and "method lora" in said
    check_room(tmp_path / "runs", 80 * MIB, BUDGET)


def test_the_budget_of_the_runs_counts_what_is_there_and_hard_links_once(tmp_path, free):
    free(10**11)
    (tmp_path / "old").write_bytes(bytes(2 * MIB))
    os.link(tmp_path / "old", tmp_path / "linked")
    check_room(tmp_path, 3 * MIB, 5 * MIB)
    with pytest.raises(InputError, match=r"2 MiB are left of the 4 MiB that runs may take here.*STUDIO_RUNS_BUDGET"):
        check_room(tmp_path, 3 * MIB, 4 * MIB)


def test_runs_that_wait_count_with_all_they_will_write(tmp_path, free):
    free(10**11)
    run = RunDirectory.create(tmp_path)
    run.configure(FinetuneConfig(), MODEL)
    Prediction(None, None, disk=6 * MIB).write(run)
    with pytest.raises(InputError, match="4 MiB are left of the 10 MiB"):
        check_room(tmp_path, 5 * MIB, 10 * MIB)
    run.set_status("finished")
    check_room(tmp_path, 5 * MIB, 10 * MIB)


def test_a_refused_run_leaves_nothing_behind(settings, small_lesson, free):
    free(1 * MIB)
    service = FinetuneService(settings, ModelManager(settings))
    before = list(settings.runs_dir.glob("*"))
    with pytest.raises(InputError, match="disk: this run needs up to"):
        service.start({"max_steps": 4})
    assert list(settings.runs_dir.glob("*")) == before


def test_more_is_needed_for_more_weights_and_more_rows():
    config = FinetuneConfig().resolved(MODEL.parameters, 10, 512)
    rows = Rows(tuple(Row((Message("user", "x" * 1000), Message("assistant", "y"))) for _ in range(100)), ())
    alone = needed(config, MODEL, None, None)
    assert 100_000 < needed(config, MODEL, None, rows) - alone < 130_000
    assert needed(replace(config, method="full"), MODEL, None, None) > 10 * MODEL.parameters * 4


@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_is_needed_covers_the_tensors_that_a_run_keeps(settings, small_lesson, method):
    """Three checkpoints with AdamW's states, and the result, of the model's exact counts."""
    run = prepare_run(
        FinetuneConfig.from_dict({"max_steps": 4, "method": method}), settings.runs_dir, ModelManager(settings), "cpu"
    )
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(run.model.source)
    trained = model.num_parameters()
    if method == "lora":
        from peft import LoraConfig, get_peft_model

        from pipelines.finetune.arguments import lora_arguments

        trained = get_peft_model(model, LoraConfig(**lora_arguments(run.config))).get_nb_trainable_parameters()[0]
    assert Prediction.of(run).disk >= trained * 4 * (3 * 3 + 1) + 4 * disk.SMALL_FILES
    run.set_status("stopped")


def test_the_budget_is_a_size_in_the_environment():
    assert budget({}) == BUDGET and budget({"STUDIO_RUNS_BUDGET": "2GiB"}) == 2 * 2**30
    with pytest.raises(InputError, match="STUDIO_RUNS_BUDGET: 'much' is not a size"):
        budget({"STUDIO_RUNS_BUDGET": "much"})
