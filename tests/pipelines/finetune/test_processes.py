"""The worker under `accelerate launch`: two processes on a CPU (gloo) train what one process trains."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipelines.errors import InputError
from pipelines.finetune import FinetuneService, processes
from pipelines.finetune.__main__ import main
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.launching import launch_commands
from pipelines.finetune.preparing import prepare_run
from pipelines.finetune.run import RunDirectory
from pipelines.finetune.warm import ROOT
from pipelines.models import ModelManager

STEPS = 6
# Ten rows in batches of two: where an epoch ends within a batch, accelerate fills it up with rows of its beginning.
SETTINGS = {"max_steps": STEPS, "batch_size": 2, "eval_steps": 3, "learning_rate": 5e-3}
# With --cpu, accelerate starts a single process, whatever the number; --multi_gpu starts them all, on what there is.
LAUNCH = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]


def _start(run: RunDirectory, launch: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *launch, "-m", "pipelines.finetune.worker", "--run", str(run.path)],
        cwd=ROOT,
        env=os.environ
        | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONFAULTHANDLER": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(run: RunDirectory, worker: subprocess.Popen[str]) -> None:
    try:
        _, said = worker.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        # Processes that wait for each other say, with their last breath, where.
        started = psutil.Process(worker.pid)
        for one in (*started.children(recursive=True), started):
            one.send_signal(signal.SIGABRT)
        _, said = worker.communicate(timeout=30)
        pytest.fail(f"no end in 200 s; the run's last events: {run.events()[-3:]}\n{said[-8000:]}")
    assert worker.returncode == 0, said[-2000:]


def _events(run: RunDirectory, kind: str) -> list[dict[str, object]]:
    return [event for event in run.events() if event["kind"] == kind]


def _losses(run: RunDirectory) -> dict[int, float]:
    return {event["step"]: event["loss"] for event in _events(run, "step")}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_train_what_one_trains_and_stop_and_resume_together(settings, small_lesson):
    manager = ModelManager(settings)

    def prepared(**changes):
        return prepare_run(FinetuneConfig.from_dict(SETTINGS | changes), settings.runs_dir, manager)

    alone, both = prepared(), prepared()
    _finish(alone, _start(alone, []))
    _finish(both, _start(both, LAUNCH))
    assert _losses(both) == pytest.approx(_losses(alone), rel=1e-4)
    assert len(_losses(both)) == STEPS
    looks = [[(event["step"], event["accuracy"]) for event in _events(run, "eval")] for run in (alone, both)]
    assert looks[0] == looks[1] and len(looks[0]) == 3
    assert (both.path / "samples.jsonl").read_text() == (alone.path / "samples.jsonl").read_text()
    assert both.status() == "finished" and both.adapter
    _, checkpoint = both.checkpoints()[-1]
    assert (checkpoint / "rng_state_1.pth").is_file(), "there was no second process"

    stopped = prepared(max_steps=400)
    worker = _start(stopped, LAUNCH)
    while not _losses(stopped) and worker.poll() is None:
        time.sleep(0.02)
    stopped.ask_to_stop()
    _finish(stopped, worker)
    assert stopped.status() == "stopped" and stopped.adapter
    at = max(_losses(stopped))
    assert at < 400

    resumed = prepare_run(
        FinetuneConfig.from_dict({"resume_from": stopped.id, "max_steps": at + 3}), settings.runs_dir, manager
    )
    _finish(resumed, _start(resumed, LAUNCH))
    unbroken = prepare_run(
        FinetuneConfig.from_dict({"resume_from": stopped.id, "max_steps": at + 3}), settings.runs_dir, manager
    )
    _finish(unbroken, _start(unbroken, []))
    assert resumed.status() == "finished"
    assert _losses(resumed) == pytest.approx(_losses(unbroken), rel=1e-4)
    assert max(_losses(resumed)) == at + 3


def test_what_is_dealt_out_comes_back_in_order(monkeypatch):
    items = list("abcdefg")
    parts = []
    for number in range(3):
        monkeypatch.setenv("RANK", str(number))
        monkeypatch.setenv("WORLD_SIZE", "3")
        parts.append(list(processes.share_of(items)))
    assert sorted(item for part in parts for item in part) == items

    import torch

    def gather(dealt, own):
        dealt[:] = parts

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    assert processes.together(parts[2]) == items


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert processes.batch_of_this_process(12) == 4
    with pytest.raises(InputError, match="multiple of 3"):
        processes.batch_of_this_process(16)


def test_only_the_first_process_writes(tmp_path: Path):
    run = RunDirectory(tmp_path)
    run.append("phase", text="loading the model")
    reader = processes.Reader(tmp_path)
    reader.append("phase", text="nothing")
    reader.set_status("failed")
    reader.add_samples(0, [("a", "b")])
    assert [event["kind"] for event in run.events()] == ["phase"]
    assert not (tmp_path / "samples.jsonl").exists()


def test_the_commands_prepare_the_run_that_the_form_describes(settings, small_lesson, monkeypatch, capsys):
    asked = FinetuneConfig.from_dict(SETTINGS | {"pairs": [{"instruction": "Who's there?", "response": 'It "is" me.'}]})
    text = launch_commands(asked, processes=4, pair=settings.pair)
    assert subprocess.run(["sh", "-n"], input=text, text=True).returncode == 0
    prepare = next(line for line in text.splitlines() if line.startswith("run=$(")).removeprefix("run=$(")[:-1]
    pair, python, dash_m, module, config = shlex.split(prepare)
    assert (pair, python, dash_m, module) == (f"STUDIO_PAIR={settings.pair}", "python", "-m", "pipelines.finetune")
    monkeypatch.setenv("STUDIO_PAIR", settings.pair)
    monkeypatch.setenv("STUDIO_RUNS_DIR", str(settings.runs_dir))
    assert main([config]) == 0
    run = RunDirectory(Path(capsys.readouterr().out.strip()))
    assert run.config.pairs == asked.pairs and run.config.max_steps == STEPS
    assert run.status() == "queued" and run.left_to_others
    assert main(["{'r': 4}"]) == 2
    assert "no JSON" in capsys.readouterr().err
    assert main(['{"rr": 4}']) == 2
    assert "nearest one is 'r'" in capsys.readouterr().err


def test_a_studio_does_not_begin_what_is_launched_by_hand(own_service):
    _service, own = own_service
    run = prepare_run(FinetuneConfig.from_dict(SETTINGS), own.runs_dir, ModelManager(own))
    run.leave_to_others()
    other = FinetuneService(own, ModelManager(own))
    other.warm_up()
    assert other.view(run.id).place == 0
    began = time.monotonic()
    assert other.stop(run.id) == "stopped"
    assert time.monotonic() - began < 5, "there is no worker to wait for"
    other.close()
