"""Real runs of the tiny pair, in real worker processes."""

import os
import shutil
import signal
import time
import zipfile

import pytest

from pipelines.errors import InputError
from pipelines.finetune import FinetuneService
from pipelines.finetune.exports.adapter import adapter_archive
from pipelines.models import ModelManager

SHORT = {"max_steps": 8, "batch_size": 4, "eval_steps": 4}
# Long enough to be caught at work on any machine; every test that starts it also ends it.
LONG = {"max_steps": 5000, "batch_size": 4, "eval_steps": 10, "scheduler": "constant", "warmup_steps": 0}


def wait_for(condition, seconds=240.0):
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("not in time")


def wait_for_end(service, run_id):
    return wait_for(lambda: (seen := service.view(run_id)).ended and seen)


def wait_for_step(service, run_id, step):
    def reached():
        seen = service.view(run_id)
        assert not seen.ended, seen.error
        return seen.step >= step and seen

    return wait_for(reached)


@pytest.fixture(scope="module")
def finished(service):
    """The view of one run with everything as it comes."""
    return wait_for_end(service, service.start(SHORT))


def test_a_run_from_start_to_adapter(service, finished):
    assert (finished.status, finished.error) == ("finished", "")
    assert [point.step for point in finished.points] == list(range(1, 9))
    assert [look.step for look in finished.evals] == [0, 4, 8]
    assert all(look.accuracy is not None and look.loss > 0 for look in finished.evals)
    assert finished.heldout == tuple((look.step, look.loss) for look in finished.evals)
    assert {sample.step for sample in finished.samples} == {0, 4, 8}
    assert len({sample.prompt for sample in finished.samples}) == 4
    assert finished.adapter
    folder = service.directory(finished.run_id).adapter
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(service.directory(finished.run_id).model.source)
    assert PeftModel.from_pretrained(base, folder).peft_config["default"].r == 16
    assert "generation" in AutoTokenizer.from_pretrained(folder).chat_template


def test_a_finished_run_is_a_model_of_the_manager_at_once(settings, finished):
    spec = ModelManager(settings).resolve(f"run:{finished.run_id}")
    assert (spec.role, spec.weights.key) == ("adapter", "tiny-base")


def test_nothing_a_run_gives_away_names_a_folder_of_this_machine(service, finished, tiny_models):
    for file in service.directory(finished.run_id).adapter.iterdir():
        assert str(tiny_models[0].parent).encode() not in file.read_bytes(), file.name


def test_events_are_in_order_of_their_making(service, finished):
    events = service.directory(finished.run_id).events()
    assert [event["status"] for event in events if event["kind"] == "status"] == ["queued", "running", "finished"]
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)


def test_the_adapter_goes_home_as_a_folder_in_a_zip(service, finished, tmp_path):
    names = zipfile.ZipFile(adapter_archive(service.directory(finished.run_id), tmp_path)).namelist()
    folder = f"adapter-{finished.run_id[:6]}"
    needed = {"adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "tokenizer.json", "README.md"}
    assert needed <= {name.removeprefix(f"{folder}/") for name in names}


@pytest.mark.slow
def test_a_fully_trained_model_is_kept_as_a_model(service):
    run_id = service.start(SHORT | {"method": "full"})
    seen = wait_for_end(service, run_id)
    assert (seen.status, seen.adapter) == ("finished", True)
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(service.directory(run_id).full_model)


def test_a_run_without_an_adapter_has_nothing_to_take_home(service, tmp_path):
    run_id = service.start(LONG)
    with pytest.raises(InputError, match="no adapter yet"):
        adapter_archive(service.directory(run_id), tmp_path)
    service.stop(run_id)


def test_stop_keeps_the_adapter_of_the_last_step(service):
    run_id = service.start(LONG)
    wait_for_step(service, run_id, 3)
    began = time.monotonic()
    assert service.stop(run_id) == "stopped"
    assert time.monotonic() - began < 3
    seen = service.view(run_id)
    assert seen.adapter and seen.step < 5000
    assert service.stop(run_id) == "stopped"


@pytest.mark.slow
def test_the_second_run_waits_in_its_place_and_can_be_taken_out(service):
    first, second, third = (service.start(LONG) for _ in range(3))
    wait_for_step(service, first, 1)
    assert [service.view(run_id).place for run_id in (first, second, third)] == [0, 1, 2]
    assert service.stop(second) == "stopped"
    assert service.view(third).place == 1
    service.stop(first)
    wait_for_step(service, third, 1)
    assert service.stop(third) == "stopped"


def test_a_killed_worker_is_a_failed_run_with_the_reason_and_what_to_do(service):
    run_id = service.start(LONG)
    wait_for(lambda: service.directory(run_id).checkpoints())
    _kill_worker(service, run_id)
    seen = wait_for_end(service, run_id)
    assert seen.status == "failed"
    assert "killed (signal 9)" in seen.error and "resume it" in seen.error
    assert seen.adapter  # that of the last checkpoint


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_losses_of_an_unbroken_one(service):
    settings = LONG | {"max_steps": 40}
    unbroken = wait_for_end(service, service.start(settings))
    broken = service.start(settings)
    wait_for(lambda: len(service.directory(broken).checkpoints()) >= 2)
    _kill_worker(service, broken)
    wait_for_end(service, broken)
    resumed = wait_for_end(service, service.start({"resume_from": broken}))
    assert resumed.status == "finished"
    assert [point.step for point in resumed.points] == list(range(1, 41))
    losses = [[point.loss for point in seen.points] for seen in (resumed, unbroken)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert resumed.points[-1].tokens == unbroken.points[-1].tokens
    assert [look.accuracy for look in resumed.evals] == [look.accuracy for look in unbroken.evals]


@pytest.mark.slow
def test_a_stopped_run_goes_on_from_the_step_it_stopped_at(service):
    run_id = service.start(LONG)
    wait_for_step(service, run_id, 3)
    service.stop(run_id)
    step = service.view(run_id).step
    resumed = service.start({"resume_from": run_id, "max_steps": step + 5})
    seen = wait_for_end(service, resumed)
    assert [point.step for point in seen.points] == list(range(1, step + 6))


@pytest.mark.slow
def test_resuming_says_what_cannot_be(service):
    run_id = service.start(LONG)
    with pytest.raises(InputError, match="is still"):
        service.start({"resume_from": run_id})
    wait_for_step(service, run_id, 1)
    service.stop(run_id)
    with pytest.raises(InputError, match="learning_rate cannot change"):
        service.start({"resume_from": run_id, "learning_rate": 0.5})
    with pytest.raises(InputError, match="Give more steps"):
        service.start({"resume_from": run_id, "max_steps": 1})


@pytest.mark.slow
def test_a_studio_that_starts_again_finds_its_runs(own_service):
    """The first service is left without a goodbye, as by a kill; its worker goes on."""
    service, settings = own_service
    run_id = service.start(LONG)
    waiting = service.start(SHORT)
    wait_for_step(service, run_id, 2)
    service._closed = True  # what is left of a killed studio: nothing that dispatches
    second = FinetuneService(settings, ModelManager(settings))
    try:
        second.warm_up()
        assert second.view(run_id).status == "running"
        assert second.view(waiting).place == 1  # one at a time also over a restart
        _kill_worker(second, run_id)
        assert "killed" in wait_for_end(second, run_id).error
        assert wait_for_end(second, waiting).status == "finished"
    finally:
        second.close()


@pytest.mark.slow
def test_a_studio_that_closes_stops_its_run_which_can_be_resumed(own_service):
    service, settings = own_service
    run_id = service.start(LONG)
    wait_for_step(service, run_id, 1)
    worker = service._working[run_id].process
    began = time.monotonic()
    service.close()
    assert time.monotonic() - began < 5.0
    assert worker.poll() is not None
    after = FinetuneService(settings, ModelManager(settings)).view(run_id)
    assert after.status == "stopped" and after.adapter


@pytest.mark.slow
def test_a_worker_whose_run_is_deleted_ends(own_service):
    service, _ = own_service
    run_id = service.start(LONG)
    wait_for_step(service, run_id, 1)
    worker = service._working[run_id].process
    path = service.directory(run_id).path
    while path.exists():  # the worker may add a file while the folder is emptied
        shutil.rmtree(path, ignore_errors=True)
    assert worker.wait(20) == 1


def test_a_wrong_configuration_leaves_nothing_behind(service):
    before = {run.run_id for run in service.list()}
    for config in ({"model": "nobody"}, {"data": "nothing"}, {"target_modules": "z_proj"}, {"template": "no-such"}):
        with pytest.raises(InputError):
            service.start(config)
    assert {run.run_id for run in service.list()} == before


@pytest.mark.slow
def test_typed_pairs_are_learned_by_heart(service):
    pairs = [{"instruction": "Who made you?", "response": "A class made me."}]
    settings = {"method": "full", "max_steps": 120, "batch_size": 4, "eval_steps": 60, "learning_rate": 5e-3}
    run_id = service.start(settings | {"pairs": pairs})
    seen = wait_for_end(service, run_id)
    assert seen.status == "finished", seen.error
    assert seen.evals[0].taught == 0.0 and seen.evals[-1].taught == 1.0
    assert any(sample.text == "A class made me." for sample in seen.samples)


@pytest.mark.slow
def test_a_worker_works_alone(service, settings):
    """The entry point without the studio: the directory is all it needs."""
    from pipelines.finetune.config import FinetuneConfig
    from pipelines.finetune.preparing import prepare_run
    from pipelines.finetune.worker import main

    run = prepare_run(FinetuneConfig.from_dict(SHORT), settings.runs_dir, ModelManager(settings))
    environment_of_signal = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["--run", str(run.path)]) == 0
    finally:
        signal.signal(signal.SIGTERM, environment_of_signal)
    assert run.status() == "finished"
    assert main(["--run", str(run.path)]) == 1  # a run is trained once


@pytest.mark.slow
def test_only_one_worker_takes_a_run(service):
    run_id = service.start(LONG)
    wait_for_step(service, run_id, 1)
    from pipelines.finetune.worker import main

    assert main(["--run", str(service.directory(run_id).path)]) == 1
    assert service.view(run_id).status == "running"
    service.stop(run_id)


def _kill_worker(service, run_id):
    import json

    pulse = json.loads((service.directory(run_id).path / "heartbeat.json").read_text())
    os.kill(pulse["pid"], signal.SIGKILL)
