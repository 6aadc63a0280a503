"""The heartbeat of a worker, under clocks that jump: the living are not called dead, nor the dead alive."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict

import pytest

from pipelines.finetune import FinetuneService, pulse
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.pulse import Pulse, is_alive, process_started
from pipelines.finetune.run import RunDirectory, TrainedModel
from pipelines.finetune.view import view
from pipelines.models import ModelManager

HOUR = 3600.0


@pytest.fixture
def jump(monkeypatch):
    """Sets the clock of the day of this process, in seconds from the true one."""
    true = time.time
    return lambda seconds: monkeypatch.setattr(time, "time", lambda: true() + seconds)


@pytest.fixture
def run(tmp_path):
    run = RunDirectory.create(tmp_path / "runs")
    run.configure(FinetuneConfig(max_steps=10), TrainedModel("tiny", "/somewhere/tiny", "tiny", parameters=1000))
    return run


@pytest.fixture
def worker(run):
    """A process of its own that beats once for the run."""
    code = "import sys, time; from pathlib import Path; from pipelines.finetune.run import RunDirectory\n"
    code += "RunDirectory(Path(sys.argv[1])).beat(); print('beat', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline().strip() == "beat"
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_a_clock_that_jumps_makes_no_living_worker_dead_and_no_dead_one_alive(run, worker, jump, tiny_pair, seconds):
    service = FinetuneService(tiny_pair.settings, ModelManager(tiny_pair.settings))
    service._runs_dir = run.path.parent
    run.set_status("running")
    jump(seconds)
    assert run.worker_alive() and service.view(run.id).status == "running"
    worker.kill()
    worker.wait()
    assert not run.worker_alive()
    assert service.view(run.id).status == "failed" and "The worker is gone" in service.view(run.id).error


def test_another_process_of_the_same_number_is_not_the_worker(tmp_path):
    beat = Pulse.of_this_process()
    assert beat.started == process_started(os.getpid()) > 0
    file = tmp_path / "heartbeat.json"
    file.write_text(json.dumps(asdict(beat)))
    assert is_alive(file)
    file.write_text(json.dumps(asdict(beat) | {"started": beat.started - 1}))
    assert not is_alive(file)


def test_another_machine_is_heard_by_our_own_clock_once_it_was_heard(tmp_path, jump, monkeypatch):
    file, now = tmp_path / "heartbeat.json", time.time()

    def beat(at):
        file.write_text(json.dumps({"pid": 1, "host": "elsewhere", "time": at}))

    beat(now)
    assert is_alive(file)
    jump(HOUR)
    assert is_alive(file)
    beat(now + 1)
    assert is_alive(file)
    began = time.monotonic()
    monkeypatch.setattr(pulse.time, "monotonic", lambda: began + pulse.SILENT_SECONDS + 1)
    jump(-HOUR)
    assert not is_alive(file)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": "x"}', '{"pid": 1e99, "host": "a", "time": 0}', "\0"])
def test_a_damaged_heartbeat_is_none(tmp_path, text):
    (tmp_path / "heartbeat.json").write_text(text)
    assert not is_alive(tmp_path / "heartbeat.json")


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_the_seconds_of_a_run_do_not_jump_with_the_clock(run, jump, seconds):
    run.set_status("running")
    run.append("step", step=1, loss=1.0, learning_rate=1e-3, grad_norm=0.5, tokens=100, seconds=2.0)
    jump(seconds)
    assert view(run).seconds >= 2.0
    run.append("step", step=2, loss=1.0, learning_rate=1e-3, grad_norm=0.5, tokens=200, seconds=4.0)
    assert view(run).seconds == pytest.approx(4.0, abs=1.0) and 0 <= view(run).seconds_left <= 16.0
    jump(0.0)
    run.set_status("finished", seconds=5.5)
    assert view(run).seconds == 5.5


def test_a_run_whose_worker_died_worked_until_it_was_last_heard(run, jump):
    run.set_status("running")
    run.append("step", step=1, loss=1.0, learning_rate=1e-3, grad_norm=0.5, tokens=100, seconds=2.0)
    jump(HOUR)  # the studio is started again much later
    run.set_status("failed", "The worker is gone.")
    assert view(run).seconds == 2.0
