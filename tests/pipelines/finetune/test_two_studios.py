"""Two studios over one directory of runs: both see every run, each is trained once, and nobody ends the other's."""

import multiprocessing
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipelines.finetune import FinetuneService
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.preparing import prepare_run
from pipelines.finetune.run import RunDirectory, TrainedModel
from pipelines.models import ModelManager
from tests.pipelines.finetune.test_service import LONG, SHORT, wait_for, wait_for_end, wait_for_step

MODEL = TrainedModel("tiny", "/somewhere/tiny", "tiny", parameters=1000)


def written(runs_dir):
    run = RunDirectory.create(runs_dir)
    run.configure(FinetuneConfig(max_steps=10), MODEL)
    run.set_status("queued")
    return run


def _take(path, gate, told):
    gate.wait()
    told.put(RunDirectory(Path(path)).take())
    gate.wait()  # alive until the last one has asked


def test_of_many_workers_that_ask_in_one_moment_one_gets_the_run(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    gate, told = spawn.Barrier(6), spawn.Queue()
    path = str(written(tmp_path).path)
    workers = [spawn.Process(target=_take, args=(path, gate, told)) for _ in range(6)]
    for worker in workers:
        worker.start()
    answers = [told.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
    assert sorted(answers) == [False] * 5 + [True]


class Fake:
    """A worker that ends at once with the status of one that came second."""

    def __init__(self, code):
        self.process, self.code = self, code

    def wait(self, timeout=None):
        return self.code

    def keep_log(self, path):
        pass


@pytest.fixture
def beating():
    """Starts a process that has taken a run, and ends it with the test."""
    started = []

    def begin(run):
        code = "import sys, time; from pathlib import Path; from pipelines.finetune.run import RunDirectory\n"
        code += "run = RunDirectory(Path(sys.argv[1])); print(run.take(), flush=True); time.sleep(600)"
        process = subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout and process.stdout.readline().strip() == "True"
        run.set_status("running")
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


def test_a_worker_that_came_second_does_not_end_the_run_of_the_first(tiny_pair, beating):
    service = FinetuneService(tiny_pair.settings, ModelManager(tiny_pair.settings))
    run = written(tiny_pair.settings.runs_dir)
    first = beating(run)
    service._closed = True  # no worker is kept warm for this test
    service._watch(run, Fake(1))
    assert service.view(run.id).status == "running"
    first.kill()
    first.wait()
    service._watch(run, Fake(-9))
    assert service.view(run.id).status == "failed" and "killed (signal 9)" in service.view(run.id).error


def test_what_another_studio_has_begun_stopped_or_ended_is_not_begun_again(tiny_pair, monkeypatch, beating):
    service = FinetuneService(tiny_pair.settings, ModelManager(tiny_pair.settings), at_once=9)
    begun = []
    monkeypatch.setattr(service, "_hand_over", lambda run: begun.append(run.id) or Fake(0))
    monkeypatch.setattr(service, "_watch", lambda run, worker: service._working.pop(run.id, None))
    ended, stopped, running, waiting = (written(tiny_pair.settings.runs_dir) for _ in range(4))
    ended.set_status("finished")
    stopped.ask_to_stop()
    beating(running)
    for run in (ended, stopped, running, waiting):
        service._enqueue(run.id)
    wait_for(lambda: begun, 20)
    wait_for(lambda: service.load() == (0, 0), 20)
    assert begun == [waiting.id]
    assert [run.status() for run in (ended, stopped, running)] == ["finished", "stopped", "running"]
    service.close()


def test_the_ids_of_two_studios_are_never_the_same(tmp_path):
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.extend(RunDirectory.create(tmp_path).id for _ in range(50)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 200


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_studios_train_what_waits_once_each_and_see_each_others_runs(settings, small_lesson, tmp_path):
    from dataclasses import replace

    own = replace(settings, runs_dir=tmp_path / "runs")
    waiting = [prepare_run(FinetuneConfig.from_dict(SHORT), own.runs_dir, ModelManager(own), "cpu") for _ in range(3)]
    studios = [FinetuneService(own, ModelManager(own)) for _ in range(2)]
    try:
        for studio in studios:
            studio.warm_up()  # both queue all three
        for run in waiting:
            assert wait_for_end(studios[0], run.id).status == "finished"
            assert [event["status"] for event in run.events() if event["kind"] == "status"] == [
                "queued", "running", "finished",
            ]  # fmt: skip
            steps = [event["step"] for event in run.events() if event["kind"] == "step"]
            assert steps == list(range(1, 9)), "each step once: one worker trained it"
        run_id = studios[0].start(LONG)
        wait_for_step(studios[1], run_id, 1)
        assert studios[1].stop(run_id) == "stopped" and studios[0].view(run_id).status == "stopped"
    finally:
        for studio in studios:
            studio.close()
