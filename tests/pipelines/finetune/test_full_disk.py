"""A disk that is full, or read only, under a run and under the studio that prepares it: a real one, of 64 MiB."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from pipelines.errors import InputError
from pipelines.faults import MAKE_ROOM
from pipelines.finetune import FinetuneService
from pipelines.finetune import disk as room
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.files import append_line, read_lines, write_atomically
from pipelines.finetune.preparing import prepare_run
from pipelines.finetune.run import RunDirectory, TrainedModel
from pipelines.finetune.view import view
from pipelines.finetune.worker import work
from pipelines.models import ModelManager
from tests.pipelines.finetune.test_service import wait_for, wait_for_end

ASKED = {"max_steps": 8, "batch_size": 4, "eval_steps": 4, "eval_rows": 2}
SAID = f"The disk that keeps the runs is full. {MAKE_ROOM}"


@pytest.fixture
def small(settings, small_lesson, disk, monkeypatch):
    """Settings of a studio whose runs are on the small disk, which is room enough to begin."""
    monkeypatch.setattr(room, "RESERVE", 0)
    return replace(settings, runs_dir=disk.path / "runs")


def prepared(settings, **changes):
    return prepare_run(FinetuneConfig.from_dict(ASKED | changes), settings.runs_dir, ModelManager(settings), "cpu")


def test_a_line_that_does_not_fit_is_no_line(disk):
    path = disk.path / "events.jsonl"
    append_line(path, {"n": 1})
    disk.fill()
    with pytest.raises(OSError, match="No space left"):
        append_line(path, {"n": 2, "text": "x" * 10_000})
    disk.free()
    append_line(path, {"n": 3})
    assert [line["n"] for line in read_lines(path)] == [1, 3]


def test_a_file_that_does_not_fit_leaves_the_old_one_and_no_rest(disk):
    path = disk.path / "heartbeat.json"
    write_atomically(path, "{}")
    disk.fill()
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "x" * 10_000)
    assert path.read_text() == "{}" and {file.name for file in disk.path.iterdir()} == {"heartbeat.json", "ballast"}


MOMENTS = {  # of events, and the bytes that are left to what comes after them
    "in the first steps": ("step", 2, 0),
    "while the model answers": ("heldout", 8, 0),
    "before the second checkpoint": ("eval", 8, 0),
    "in the middle of the second checkpoint": ("eval", 8, 200 * 1024),
    "in its last file": ("eval", 8, 660 * 1024),
    "between a checkpoint and the adapter": ("checkpoint", 8, 0),
    "in the middle of the adapter": ("checkpoint", 8, 60 * 1024),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_on_a_disk_that_becomes_full_fails_in_words_and_goes_on_when_there_is_room(
    small, disk, monkeypatch, moment
):
    kind, step, leave = MOMENTS[moment]
    append = RunDirectory.append

    def appended(run, what, **fields):
        append(run, what, **fields)
        if (what, fields.get("step")) == (kind, step):
            disk.fill(leave)

    run = prepared(small)
    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "append", appended)
        assert work(run) in (1, 74)
    told = view(run)
    if told.status != "failed":  # not one word more fitted on the disk: the studio tells it, see below
        assert told.status == "running"
        disk.free()
        run.set_status("failed", run.advice())
    else:
        assert told.error == f"{SAID} {run.advice()}"
        disk.free()
    saved = [at for at, _ in run.checkpoints()]
    assert run.adapter is None or saved
    assert not list(run.path.glob(".*")), "nothing half written is left"
    if not saved:
        assert moment == "in the first steps" and "start it again" in run.advice()
        return
    resumed = prepared(small, resume_from=run.id, max_steps=10)
    assert view(resumed).step == saved[-1]
    assert work(resumed) == 0, view(resumed).error
    assert [point.step for point in view(resumed).points] == list(range(1, 11)) and resumed.adapter


@pytest.mark.slow
def test_the_studio_tells_of_a_full_disk_and_trains_on_when_there_is_room(small, disk):
    """Real workers. The queue is not held up by a run that could not write its end."""
    service = FinetuneService(small, ModelManager(small))
    service.warm_up()
    try:
        run_id = service.start(ASKED | {"max_steps": 5000})
        wait_for(lambda: service.directory(run_id).checkpoints())
        disk.fill()
        seen = wait_for_end(service, run_id)
        assert seen.status == "failed" and seen.error.startswith(SAID)
        assert {one.run_id: one.status for one in service.list()} == {run_id: "failed"}
        with pytest.raises(InputError, match=r"disk: .* 0 MiB are left on the disk"):
            service.start(ASKED)
        disk.free()
        seen = service.view(run_id)
        assert seen.error.startswith(SAID) and "steps are saved: resume it" in seen.error
        assert view(RunDirectory(small.runs_dir / run_id)).status == "failed", "it is written by now"
        step = service.directory(run_id).checkpoints()[-1][0]
        after = wait_for_end(service, service.start({"resume_from": run_id, "max_steps": step + 4}))
        assert after.status == "finished" and after.step == step + 4
    finally:
        disk.path.joinpath("ballast").unlink(missing_ok=True)
        service.close()


@pytest.fixture
def gone(disk):
    """A run on the disk that says that it runs, though its worker is gone."""
    run = RunDirectory.create(disk.path / "runs")
    run.configure(FinetuneConfig(max_steps=10), TrainedModel("tiny", "/somewhere/tiny", "tiny", parameters=1000))
    run.set_status("running")
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    (run.path / "heartbeat.json").write_text(json.dumps({"pid": int(ended.stdout), "host": os.uname().nodename}))
    return run


def test_what_cannot_be_written_is_told_all_the_same_and_written_later(small, disk, gone):
    service = FinetuneService(small, ModelManager(small))
    assert disk.mount("-o", "remount,ro")
    for _ in range(2):
        seen = service.view(gone.id)
        assert seen.status == "failed" and "The worker is gone" in seen.error and "start it again" in seen.error
    assert [one.status for one in service.list()] == ["failed"] and service.stop(gone.id) == "failed"
    assert gone.status() == "running"
    assert disk.mount("-o", "remount,rw")
    assert service.view(gone.id).status == "failed" and gone.status() == "failed"


def test_on_a_read_only_disk_no_run_is_started_and_it_is_said_why(small, disk, gone):
    gone.set_status("finished")
    waiting = prepared(small)
    waiting.leave_to_others()
    before = sorted(disk.path.rglob("*"))
    assert disk.mount("-o", "remount,ro")
    service = FinetuneService(small, ModelManager(small))
    with pytest.raises(InputError) as told:
        service.start(ASKED)
    assert str(told.value) == (
        "disk: nothing can be written into the directory of the runs, 'runs'. Runs need a directory that can be "
        "written: start the studio with another --runs-dir."
    )
    with pytest.raises(InputError, match="nothing can be written into the directory"):
        service.stop(waiting.id)
    assert service.view(gone.id).status == "finished" and service.predict(ASKED).memory
    assert sorted(disk.path.rglob("*")) == before
    assert disk.mount("-o", "remount,rw")
    assert service.stop(waiting.id) == "stopped"


def test_a_data_set_is_opened_where_nothing_can_be_kept_beside_the_runs(small, disk):
    from pipelines.data.record import dataset_record

    disk.path.joinpath("runs").mkdir()
    assert disk.mount("-o", "remount,ro")
    found = dataset_record(small, "lesson", limit=2)
    assert len(found["messages"]) == 2


def test_a_full_disk_while_a_run_is_prepared_leaves_nothing_behind(small, disk, monkeypatch):
    configure = RunDirectory.configure

    def filled(run, *args):
        disk.fill()
        configure(run, *args)

    monkeypatch.setattr(RunDirectory, "configure", filled)
    with pytest.raises(InputError, match=r"disk: the disk that keeps the runs is full.*can delete old runs"):
        prepared(small)
    assert list((disk.path / "runs").iterdir()) == []
    monkeypatch.setattr(RunDirectory, "configure", configure)
    disk.free()
    assert prepared(small).status() == "queued"
