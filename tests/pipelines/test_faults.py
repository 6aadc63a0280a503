"""Failures of the machine, raised by the libraries themselves: each is called by its name."""

import errno
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.errors import InputError
from pipelines.faults import cannot_write, is_disk_full, is_out_of_memory, writing
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.preparing import prepare_run
from pipelines.finetune.run import RunDirectory, TrainedModel
from pipelines.finetune.worker import explain
from pipelines.models import ModelManager

ROOT = Path(__file__).resolve().parents[2]
TOO_LITTLE = "There was not enough memory. Use a smaller batch_size or max_length, or method qlora."


def raised(work):
    try:
        work()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def too_much():
    import torch

    return torch.empty(2**50)


def test_what_torch_says_when_memory_runs_out_is_known():
    assert is_out_of_memory(raised(too_much)) and not is_disk_full(raised(too_much))
    assert is_out_of_memory(raised(lambda: bytearray(2**60)))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


def test_what_the_libraries_say_when_a_disk_is_full_is_known(disk):
    import torch
    from safetensors.torch import save_file

    weights = {"a": torch.zeros(1_000_000)}
    disk.fill(leave=1_000_000)
    for save in (torch.save, save_file):
        error = raised(lambda how=save: how(weights, disk.path / "weights"))
        assert is_disk_full(error) and not is_out_of_memory(error), error
        (disk.path / "weights").unlink(missing_ok=True)
    assert is_disk_full(raised(lambda: (disk.path / "text").write_text("x" * 2_000_000)))
    assert not is_disk_full(FileNotFoundError(errno.ENOENT, "nothing there"))


def test_a_run_that_memory_does_not_suffice_for_says_what_to_do(tmp_path):
    run = RunDirectory.create(tmp_path)
    run.configure(FinetuneConfig(max_steps=8), TrainedModel("tiny", "/somewhere/tiny", "tiny", parameters=1000))
    assert explain(raised(too_much), run) == TOO_LITTLE == explain(MemoryError(), run)


def test_a_model_that_memory_does_not_suffice_for_is_told_and_loads_when_there_is_some(tiny_pair, monkeypatch):
    from transformers import AutoModelForCausalLM

    manager = ModelManager(tiny_pair.settings)
    with monkeypatch.context() as patched:
        patched.setattr(AutoModelForCausalLM, "from_pretrained", lambda *args, **options: too_much())
        with pytest.raises(InputError, match=r"'tiny-base' does not fit in memory. Choose a smaller model"):
            manager.lease("base").__enter__()
    with manager.lease("base") as lease:
        assert lease.model is not None


BOUNDED = """
import resource, sys
from pathlib import Path
from pipelines.finetune import trainer, worker
from pipelines.finetune.run import RunDirectory
train = trainer.train

def bounded(run, clock):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 300 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return train(run, clock)

trainer.train = bounded
sys.exit(worker.work(RunDirectory(Path(sys.argv[1]))))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say how much a process has")
def test_a_worker_that_is_allowed_too_little_memory_says_so(tmp_path):
    """A real worker, whose system gives it 300 MiB beyond its imports, which its batch does not fit into."""
    from pipelines.settings import Settings

    settings = replace(Settings(), runs_dir=tmp_path / "runs", device="cpu")
    asked = FinetuneConfig.from_dict({"max_steps": 2, "batch_size": 1024, "eval_rows": 0})
    run = prepare_run(asked, settings.runs_dir, ModelManager(settings), "cpu")
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, str(run.path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert [event["error"] for event in run.events() if event.get("status") == "failed"] == [TOO_LITTLE]


def test_a_directory_that_can_be_written_or_made_is_no_fault(tmp_path):
    assert cannot_write(tmp_path) == cannot_write(tmp_path / "a" / "b") == ""


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "runs").write_text("")
    said = r"nothing can be written into the directory of the runs, 'runs'.*--runs-dir"
    with pytest.raises(InputError, match=said), writing(tmp_path / "runs"):
        RunDirectory.create(tmp_path / "runs")


def test_what_is_no_fault_of_the_disk_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), writing(tmp_path):
        (tmp_path / "nothing").read_text()
