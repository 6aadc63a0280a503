"""A checkpoint that was damaged on the disk: the one before it is taken, or it is said what is wrong."""

import json

import pytest

from pipelines.errors import InputError
from pipelines.finetune import preparing
from pipelines.finetune.checkpoints import damage
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.prediction import Prediction
from pipelines.finetune.preparing import prepare_run
from pipelines.finetune.run import RunDirectory, TrainedModel
from pipelines.finetune.view import view
from pipelines.finetune.worker import work
from pipelines.models import ModelManager
from tests.pipelines.finetune.conftest import write_checkpoint


def halve(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


DAMAGES = [
    (lambda folder: halve(folder / "adapter_model.safetensors"), "adapter_model.safetensors is damaged: it has 2,0"),
    (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"garbage" * 99), "is not a safetensors file"),
    (lambda folder: (folder / "adapter_model.safetensors").unlink(), r"it has no \*.safetensors"),
    (lambda folder: (folder / "trainer_state.json").write_bytes(b"\x00\xff garbage"), "trainer_state.json cannot be"),
    (lambda folder: (folder / "trainer_state.json").write_text("{}"), "trainer_state.json is not that of step 8"),
    (lambda folder: (folder / "trainer_state.json").unlink(), "it has no trainer_state.json"),
    (lambda folder: halve(folder / "optimizer.pt"), "optimizer.pt is cut off"),
    (lambda folder: (folder / "rng_state.pth").unlink(), "it has no rng_state"),
]


@pytest.fixture
def broken_off(tmp_path):
    """A run that broke off with checkpoints of steps 4 and 8."""
    run = RunDirectory.create(tmp_path)
    run.configure(FinetuneConfig(max_steps=12), TrainedModel("tiny", "/somewhere/tiny", "tiny", parameters=1000))
    for step in (4, 8):
        write_checkpoint(run, step)
        run.append("checkpoint", step=step, seconds=1.0)
    run.set_status("failed")
    return run


def last(run):
    return run.path / "checkpoints" / "checkpoint-8"


@pytest.mark.parametrize(("harm", "said"), DAMAGES)
def test_a_damaged_checkpoint_does_not_count_and_the_one_before_does(broken_off, harm, said):
    assert [step for step, _ in broken_off.checkpoints()] == [4, 8] and broken_off.damaged() == ""
    harm(last(broken_off))
    assert [step for step, _ in broken_off.checkpoints()] == [4]
    with pytest.raises(AssertionError, match="the checkpoint of step 8 is damaged.*" + said):
        raise AssertionError(broken_off.damaged())
    assert broken_off.advice().startswith("4 steps are saved: resume it")


def test_what_is_offered_of_a_run_that_broke_off_is_whole(broken_off):
    halve(last(broken_off) / "adapter_model.safetensors")
    broken_off.keep_last_checkpoint()
    from safetensors.torch import load_file

    assert load_file(broken_off.adapter / "adapter_model.safetensors")["a"][0] == 4.0


def test_checkpoints_of_processes_that_share_the_weights_are_whole_without_single_files(tmp_path):
    folder = tmp_path / "checkpoint-8"
    (folder / "pytorch_model_fsdp_0").mkdir(parents=True)
    (folder / "trainer_state.json").write_text('{"global_step": 8}')
    assert damage(folder, 8) == ""


@pytest.fixture(scope="module")
def trained(settings, small_lesson):
    """A real run of eight steps with checkpoints of steps 4 and 8."""
    asked = FinetuneConfig.from_dict({"max_steps": 8, "batch_size": 4, "eval_steps": 4, "eval_rows": 2})
    run = prepare_run(asked, settings.runs_dir, ModelManager(settings), "cpu")
    assert work(run) == 0, view(run).error
    return run


@pytest.mark.parametrize("further", [False, True])
def test_a_run_that_takes_too_long_is_refused_also_where_another_goes_on(settings, trained, monkeypatch, further):
    """What it goes on with is predicted, not a run with the defaults."""
    predicted = Prediction(900.0, None)
    monkeypatch.setattr(preparing, "predict", lambda config, *rest: predicted if config.max_steps == 50 else None)
    asked = FinetuneConfig.from_dict({"max_steps": 50} | ({"resume_from": trained.id} if further else {}))
    before = set(settings.runs_dir.iterdir())
    with pytest.raises(InputError, match="this run would take 900 s, and in a public studio one may take 600 s"):
        prepare_run(asked, settings.runs_dir, ModelManager(settings), "cpu", longest=600.0)
    assert set(settings.runs_dir.iterdir()) == before


def test_resuming_goes_on_from_the_checkpoint_before_a_damaged_one_to_the_same_losses(settings, trained):
    assert [step for step, _ in trained.checkpoints()] == [4, 8]
    halve(last(trained) / "optimizer.pt")
    asked = FinetuneConfig.from_dict({"resume_from": trained.id})
    run = prepare_run(asked, settings.runs_dir, ModelManager(settings), "cpu")
    assert view(run).step == 4
    assert work(run) == 0, view(run).error
    losses = [[point.loss for point in view(one).points] for one in (run, trained)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4) and len(losses[0]) == 8


def test_resuming_says_what_is_wrong_where_no_checkpoint_is_whole(settings, trained):
    for folder in (trained.path / "checkpoints").glob("checkpoint-*"):
        (folder / "trainer_state.json").write_text("garbage")
    with pytest.raises(InputError) as told:
        prepare_run(
            FinetuneConfig.from_dict({"resume_from": trained.id, "max_steps": 12}),
            settings.runs_dir, ModelManager(settings), "cpu",
        )  # fmt: skip
    assert str(told.value) == (
        f"resume_from: run {trained.id[:6]} has no checkpoint that can be used: the checkpoint of step 8 is damaged "
        "(its trainer_state.json cannot be read). Start it again from the beginning."
    )


def test_an_adapter_that_cannot_be_read_is_not_trained_further(settings, trained):
    asked = FinetuneConfig.from_dict({"model": f"run:{trained.id}", "max_steps": 2})
    file = trained.adapter / "adapter_model.safetensors"
    whole, shape = file.read_bytes(), json.loads((trained.adapter / "adapter_config.json").read_text())
    halve(file)
    with pytest.raises(InputError, match=f"the adapter in '{trained.id}' cannot be read: .* is damaged"):
        prepare_run(asked, settings.runs_dir, ModelManager(settings), "cpu")
    file.write_bytes(whole)
    del shape["r"]
    (trained.adapter / "adapter_config.json").write_text(json.dumps(shape))
    with pytest.raises(InputError, match="does not say its r"):
        prepare_run(asked, settings.runs_dir, ModelManager(settings), "cpu")
