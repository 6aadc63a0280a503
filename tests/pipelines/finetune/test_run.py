import json
import os
import subprocess
import sys
import time

import pytest

from pipelines.errors import InputError
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.files import append_line, read_lines
from pipelines.finetune.pulse import process_alive
from pipelines.finetune.run import RunDirectory, TrainedModel
from pipelines.finetune.view import view
from tests.pipelines.finetune.conftest import write_checkpoint

MODEL = TrainedModel("tiny", "/somewhere/tiny", "tiny", parameters=1000)


@pytest.fixture
def run(tmp_path):
    run = RunDirectory.create(tmp_path)
    run.configure(FinetuneConfig(max_steps=10), MODEL)
    run.set_status("queued")
    return run


def _step(run, step, loss=1.0):
    run.append("step", step=step, loss=loss, learning_rate=1e-3, grad_norm=0.5, tokens=100 * step, seconds=step * 0.5)


def test_what_is_written_is_read_back(run, tmp_path):
    again = RunDirectory.open(tmp_path, run.id)
    assert (again.config, again.model) == (FinetuneConfig(max_steps=10), MODEL)


def test_ids_cannot_be_guessed(tmp_path):
    ids = {RunDirectory.create(tmp_path).id for _ in range(20)}
    assert len(ids) == 20 and all(len(run_id) == 16 for run_id in ids)


@pytest.mark.parametrize("run_id", ["", "../../etc", "0" * 16, "a/b", 7])
def test_an_id_that_no_run_has_is_a_persons_mistake(tmp_path, run_id):
    with pytest.raises(InputError, match="there is no run"):
        RunDirectory.open(tmp_path, run_id)


def test_a_reader_passes_over_a_half_written_last_line(run):
    _step(run, 1)
    with (run.path / "events.jsonl").open("ab") as file:
        file.write(b'{"kind": "step", "step": 2, "lo')
    assert [point.step for point in view(run).points] == [1]


def test_a_line_after_a_half_written_one_is_not_swallowed(run):
    _step(run, 1)
    with (run.path / "events.jsonl").open("ab") as file:
        file.write(b'{"kind": "step", "step": 2, "lo')
    _step(run, 3)
    assert [point.step for point in view(run).points] == [1, 3]


def test_many_writers_do_not_tear_each_others_lines(tmp_path):
    code = (
        "import sys; from pathlib import Path; from pipelines.finetune.files import append_line\n"
        "for n in range(200): append_line(Path(sys.argv[1]), {'who': sys.argv[2], 'n': n, 'text': 'x' * 500})"
    )
    path = tmp_path / "lines.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), who]) for who in ("a", "b")]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(list(read_lines(path))) == 400


def test_the_view_has_the_keys_of_the_contract(run):
    run.set_status("running")
    _step(run, 1, 2.5)
    run.append("eval", step=1, loss=2.0, accuracy=0.25, stopped=0.5, taught=None, seconds=0.6)
    run.add_samples(1, [("Hi?", "Hello.")])
    shown = view(run).as_dict()
    assert set(shown) >= {"status", "step", "steps", "seconds", "loss", "eval", "samples", "adapter", "error"}
    assert shown["status"] == "running" and (shown["step"], shown["steps"]) == (1, 10)
    assert shown["loss"] == [{"step": 1, "loss": 2.5}]
    assert shown["eval"] == [{"step": 1, "loss": 2.0, "accuracy": 0.25}]
    assert shown["samples"] == [{"step": 1, "prompt": "Hi?", "text": "Hello."}]
    json.dumps(shown)


def test_pace_and_rest_come_from_the_steps(run):
    run.set_status("running")
    for step in (1, 2, 3):
        _step(run, step)
    seen = view(run)
    assert seen.tokens_per_second == pytest.approx(200)
    assert 0 <= seen.seconds_left <= 3.5 + 1.5


def test_a_checkpoint_counts_only_once_its_event_is_there(run):
    folder = write_checkpoint(run, 5)
    assert run.checkpoints() == []
    run.append("checkpoint", step=5, seconds=1.0)
    assert run.checkpoints() == [(5, folder)]


def test_a_folder_appears_only_when_it_is_complete(run):
    with pytest.raises(RuntimeError), run.folder("adapter") as partial:
        (partial / "adapter_config.json").write_text("{}")
        raise RuntimeError("killed here")
    assert run.adapter is None and not list(run.path.glob(".adapter*"))
    with run.folder("adapter") as partial:
        (partial / "adapter_config.json").write_text("{}")
        assert run.adapter is None
    assert run.adapter == run.path / "adapter"


def test_the_heart_of_a_worker_is_heard_until_it_is_gone(run):
    assert not run.worker_alive()
    code = "import sys, time; from pathlib import Path; from pipelines.finetune.run import RunDirectory\n"
    code += "RunDirectory(Path(sys.argv[1])).beat(); print('beat', flush=True); time.sleep(60)"
    worker = subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True)
    assert worker.stdout and worker.stdout.readline().strip() == "beat"
    assert run.worker_alive()
    worker.kill()
    limit = time.monotonic() + 5
    while process_alive(worker.pid) and time.monotonic() < limit:  # a zombie already counts as gone
        time.sleep(0.01)
    assert not run.worker_alive()
    worker.wait()


def test_a_silent_heart_of_another_machine_is_dead(run):
    pulse = {"pid": os.getpid(), "host": "elsewhere", "time": time.time() - 31}
    (run.path / "heartbeat.json").write_text(json.dumps(pulse))
    assert not run.worker_alive()
    (run.path / "heartbeat.json").write_text(json.dumps(pulse | {"time": time.time()}))
    assert run.worker_alive()


def test_the_newest_run_comes_first(tmp_path):
    runs = []
    for age in (20, 10, 0):
        run = RunDirectory.create(tmp_path)
        run.configure(FinetuneConfig(), MODEL)
        os.utime(run.path / "config.json", (time.time() - age,) * 2)
        runs.append(run.id)
    RunDirectory.create(tmp_path)  # without configuration: not a run yet
    assert [run.id for run in RunDirectory.all(tmp_path)] == runs[::-1]


def test_append_line_makes_its_file(tmp_path):
    append_line(tmp_path / "new.jsonl", {"a": 1})
    assert list(read_lines(tmp_path / "new.jsonl")) == [{"a": 1}]
