"""An adapter trained further: its shape, its template, its reference under DPO, and what comes out of it."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from pipelines.data import lesson
from pipelines.errors import InputError
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.exports import export
from pipelines.finetune.preparing import prepare_run
from pipelines.finetune.view import view
from pipelines.finetune.worker import work
from pipelines.models import ModelManager
from pipelines.settings import Settings
from pipelines.stages import ASSETS
from tests.pipelines.finetune.test_dpo import preferences  # noqa: F401 - a fixture


def trained(settings, **values):
    """A run that was trained in this process."""
    run = prepare_run(FinetuneConfig.from_dict(values), settings.runs_dir, ModelManager(settings), "cpu")
    assert work(run) == 0, view(run).error
    return run


@pytest.fixture(scope="module")
def first(settings, small_lesson):
    """An SFT run of rank 4 on two modules."""
    return trained(
        settings, max_steps=6, batch_size=4, eval_steps=6, r=4, lora_alpha=12, target_modules="q_proj,v_proj"
    )


def test_it_keeps_the_shape_of_the_adapter_whatever_was_asked_for(settings, first):
    asked = FinetuneConfig.from_dict({"model": f"run:{first.id}", "r": 64, "max_steps": 4})
    run = prepare_run(asked, settings.runs_dir, ModelManager(settings), "cpu")
    config = run.config
    assert (config.r, config.lora_alpha, config.target_modules) == (4, 12, "q_proj,v_proj")
    assert run.model.key == first.model.key and run.model.continues == f"run:{first.id}"
    assert f"+ run:{first.id[:6]}" in view(run).title
    run.set_status("stopped")


def test_an_adapter_has_no_other_weights(settings, first):
    asked = FinetuneConfig.from_dict({"model": f"run:{first.id}", "method": "full"})
    with pytest.raises(InputError, match=f"method: 'run:{first.id}' is an adapter on tiny-base.*Use lora"):
        prepare_run(asked, settings.runs_dir, ModelManager(settings), "cpu")


def test_the_template_of_the_adapter_stays_with_it(settings, small_lesson):
    spoken = trained(settings, max_steps=2, batch_size=4, template="chatml")
    further = prepare_run(
        FinetuneConfig.from_dict({"model": f"run:{spoken.id}"}), settings.runs_dir, ModelManager(settings), "cpu"
    )
    assert further.model.template == "chatml"
    further.set_status("stopped")


def test_sft_goes_on_where_the_adapter_stood(settings, first):
    """Its first look is the adapter's, not the base's; and the result loads on the base alone."""
    run = trained(settings, model=f"run:{first.id}", max_steps=4, batch_size=4, eval_steps=4)
    before, after = view(first).evals, view(run).evals
    assert after[0].loss == pytest.approx(before[-1].loss, abs=1e-4) and after[0].loss < before[0].loss - 0.01
    shutil.rmtree(run.start)  # nothing of the first run is needed any more
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(run.model.source), run.adapter)
    assert list(model.peft_config) == ["default"] and model.peft_config["default"].r == 4
    assert ModelManager(settings).resolve(f"run:{run.id}").weights.key == "tiny-base"


def test_dpo_compares_with_the_adapter_as_it_began(settings, first, preferences):  # noqa: F811
    """The first margin is zero, which it is only against the adapter itself; against the bare base it is not."""
    run = trained(settings, objective="dpo", model=f"run:{first.id}", max_steps=4, batch_size=4, learning_rate=1e-3)
    points = view(run).points
    assert points[0].margin == pytest.approx(0.0, abs=1e-5) and points[-1].margin != points[0].margin
    assert sorted(file.name for file in run.adapter.iterdir() if file.is_dir()) == []
    from safetensors.torch import load_file

    began, ended = (load_file(folder / "adapter_model.safetensors") for folder in (run.start, run.adapter))
    assert began.keys() == ended.keys() and any((began[name] != ended[name]).any() for name in began)


def test_a_run_that_goes_on_can_be_resumed(settings, first):
    broken = prepare_run(
        FinetuneConfig.from_dict({"model": f"run:{first.id}", "max_steps": 4, "batch_size": 4, "eval_steps": 2}),
        settings.runs_dir, ModelManager(settings), "cpu",
    )  # fmt: skip
    assert work(broken) == 0
    resumed = trained(settings, resume_from=broken.id, max_steps=6)
    assert [point.step for point in view(resumed).points] == [1, 2, 3, 4, 5, 6]
    assert resumed.start and resumed.model.continues == f"run:{first.id}"


def test_the_other_tools_say_that_they_cannot(settings, first, tmp_path):
    run = prepare_run(
        FinetuneConfig.from_dict({"model": f"run:{first.id}"}), settings.runs_dir, ModelManager(settings), "cpu"
    )
    run.set_status("finished")
    with pytest.raises(InputError, match=r"trains run:.* further, which is not exported for axolotl"):
        export(run, "axolotl", tmp_path, ModelManager(settings))


@pytest.mark.slow
def test_the_script_brings_the_adapter_along_and_repeats_the_losses(settings, first, preferences, tmp_path):  # noqa: F811
    run = trained(settings, objective="dpo", model=f"run:{first.id}", max_steps=4, batch_size=4)
    file = export(run, "trl", tmp_path, ModelManager(settings))
    expected = [point.loss for point in view(run).points]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, file.name], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    (state,) = (tmp_path / "checkpoints").glob("*/trainer_state.json")
    repeated = [entry["loss"] for entry in json.loads(state.read_text())["log_history"] if "loss" in entry]
    assert repeated == pytest.approx(expected, rel=0.01)
    saved = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert saved["r"] == 4 and not (tmp_path / "adapter" / "ref").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_chapter_in_one_sitting(tmp_path, monkeypatch):
    """SFT of the pocket base, then DPO of what came out: the base answers, then answers as preferred."""
    monkeypatch.setattr(lesson, "DIRECTORY", ASSETS / "lesson")
    own = Settings(runs_dir=tmp_path / "runs", device="cpu")
    sft = trained(own)
    dpo = trained(own, objective="dpo", model=f"run:{sft.id}")
    base, *_, unlocked = view(sft).evals
    began, *_, preferred = view(dpo).evals
    assert base.accuracy <= 0.05 and unlocked.accuracy >= 0.85
    assert began.win_rate <= 0.6 and preferred.win_rate >= 0.9
    assert preferred.accuracy >= began.accuracy - 0.05
