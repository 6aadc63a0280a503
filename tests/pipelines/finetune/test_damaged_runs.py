"""Runs whose files were damaged: the others are listed and trained as if nothing were, and it is said what is wrong."""

import json

import pytest

from pipelines.errors import InputError
from pipelines.finetune import FinetuneService
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.run import RunDirectory, TrainedModel
from pipelines.models import ModelManager

MODEL = TrainedModel("tiny", "/somewhere/tiny", "tiny", parameters=1000)
STEP = {"loss": 1.0, "learning_rate": 1e-3, "grad_norm": 0.5, "tokens": 100, "seconds": 1.0}


def written(runs_dir):
    run = RunDirectory.create(runs_dir)
    run.configure(FinetuneConfig(max_steps=10), MODEL)
    run.set_status("finished")
    return run


@pytest.fixture
def service(tiny_pair):
    return FinetuneService(tiny_pair.settings, ModelManager(tiny_pair.settings))


@pytest.fixture
def runs(tiny_pair):
    """One that is whole, and one to be damaged."""
    return written(tiny_pair.settings.runs_dir), written(tiny_pair.settings.runs_dir)


CONFIGS = [b"", b'{"run_id": "a', b"\x00\xff\xfe garbage", b"[]", b"{}", b'{"config": {"no_such_setting": 1}}']


@pytest.mark.parametrize("content", CONFIGS)
def test_a_run_without_a_readable_configuration_hides_no_other(service, runs, content):
    whole, damaged = runs
    (damaged.path / "config.json").write_bytes(content)
    assert [seen.run_id for seen in service.list()] == [whole.id]
    service.warm_up()
    service.close()
    with pytest.raises(InputError) as told:
        service.view(damaged.id)
    assert str(told.value) == (
        f"run_id: the config.json of run {damaged.id[:6]} cannot be read. Put a copy of it back, or start a new run; "
        "the other runs are not concerned."
    )


def test_a_configuration_that_is_put_back_is_read_again(service, runs):
    file = runs[1].path / "config.json"
    content = file.read_bytes()
    file.write_bytes(content[:20])
    assert len(service.list()) == 1
    file.write_bytes(content)
    assert len(service.list()) == 2


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind": "step", "step": 2, "lo',
        b"\x00" * 400,
        b"\x80\xff garbage \x00\n",
        b'{"kind": "step", "time": 1.0, "step": 2}\n',
        b'{"kind": "status", "time": 1.0}\n',
        b'{"kind": "checkpoint", "time": 1.0}\n',
        b'{"kind": "measured", "time": 1.0, "device": "cpu"}\n',
        b'{"time": 1.0}\n',
        b'{"kind": ["step"], "time": 1.0}\n',
        b'"step"\n[1, 2]\nnull\n',
    ],
)
def test_damaged_lines_of_events_and_samples_are_passed_over(service, runs, line):
    whole, damaged = runs
    damaged.append("step", step=1, **STEP)
    damaged.add_samples(1, [("Hi?", "Hello.")])
    for name in ("events.jsonl", "samples.jsonl"):
        with (damaged.path / name).open("ab") as file:
            file.write(line)
    damaged.append("step", step=3, **STEP)
    damaged.add_samples(3, [("Hi?", "Good day.")])
    assert {seen.run_id for seen in service.list()} == {whole.id, damaged.id}
    seen = service.view(damaged.id)
    assert [point.step for point in seen.points] == [1, 3] and [sample.step for sample in seen.samples] == [1, 3]
    json.dumps(seen.as_dict())


def test_a_run_that_has_lost_its_rows_says_so_when_it_is_resumed(service, runs):
    from tests.pipelines.finetune.conftest import write_checkpoint

    run = runs[0]
    write_checkpoint(run, 4)
    run.append("checkpoint", step=4, seconds=1.0)
    with pytest.raises(InputError, match=f"run {run.id[:6]} has lost its train.jsonl. Put a copy back, or start anew"):
        service.start({"resume_from": run.id})
