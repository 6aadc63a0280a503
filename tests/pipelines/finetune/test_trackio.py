"""Runs that also log to Trackio, which is an optional package: said where it is missing, told each loss where not.

The package is a double in a folder of its own, with what transformers 5.23's `TrackioCallback` calls; a real 0.43.0 was
tried by hand.
"""

import json
import os
import subprocess
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from pipelines.errors import InputError
from pipelines.finetune import preparing
from pipelines.finetune.arguments import TRACKIO_PROJECT, dpo_arguments, sft_arguments
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.preparing import prepare_run
from pipelines.finetune.run import TrainedModel
from pipelines.finetune.script import training_script
from pipelines.finetune.view import view
from pipelines.models import ModelManager

ROOT = Path(__file__).resolve().parents[3]
ASKED = FinetuneConfig.from_dict({"report_to": "trackio", "max_steps": 4, "batch_size": 4, "eval_steps": 4})

_DOUBLE = """
import contextvars, json, os, types

class _Config(dict):
    def update(self, values, allow_val_change=False):
        super().update(values)

config = _Config()
__version__ = "0.43.0"
context_vars = types.SimpleNamespace(
    current_space_id=contextvars.ContextVar("space", default=None),
    current_project=contextvars.ContextVar("project", default=None),
    current_run=contextvars.ContextVar("run", default=None),
)

def _write(**values):
    with open(os.environ["SEEN"], "a") as file:
        file.write(json.dumps(values, default=str) + "\\n")

def init(project, name=None, space_id=None, **options):
    _write(project=project, name=name, space_id=space_id)

def log(values, *args, **options):
    _write(logged=values)

def finish():
    _write(finished=True)
"""


def test_it_is_said_where_trackio_is_missing(settings, small_lesson, monkeypatch):
    monkeypatch.setattr(preparing.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"report_to: trackio is not installed.*pip install trackio"):
        prepare_run(ASKED, settings.runs_dir, ModelManager(settings), "cpu")


@pytest.mark.parametrize("arguments", [sft_arguments, dpo_arguments])
def test_it_stays_on_this_machine(arguments):
    told = arguments(ASKED.resolved(10, 10, 10), 10, "cpu")
    assert told["report_to"] == "trackio" and told["project"] == TRACKIO_PROJECT
    assert not any("space" in name for name in told)
    assert "project" not in arguments(FinetuneConfig().resolved(10, 10, 10), 10, "cpu")


def test_the_script_asks_for_the_package():
    model = TrainedModel("m", "a/b", "a/b")
    script = training_script(ASKED.resolved(10, 10, 10), model)
    assert '#     "trackio' in script and 'report_to="trackio"' in script
    assert "trackio" not in training_script(FinetuneConfig().resolved(10, 10, 10), model)


def test_an_unknown_report_is_named():
    with pytest.raises(InputError, match=r"report_to: 'wandb' is not possible. Use one of: none, trackio"):
        FinetuneConfig.from_dict({"report_to": "wandb"})


@pytest.mark.slow
def test_a_run_tells_it_every_loss(settings, small_lesson, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", types.ModuleType("trackio"))
    sys.modules["trackio"].__spec__ = ModuleSpec("trackio", None)
    run = prepare_run(ASKED, settings.runs_dir, ModelManager(settings), "cpu")
    package = tmp_path / "trackio"
    package.mkdir()
    (package / "__init__.py").write_text(_DOUBLE)
    metadata = tmp_path / "trackio-0.43.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: trackio\nVersion: 0.43.0\n")
    seen = tmp_path / "seen.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.finetune.worker", "--run", str(run.path)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(tmp_path), "SEEN": str(seen)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, (done.stderr, view(run).error)
    lines = [json.loads(line) for line in seen.read_text().splitlines()]
    assert lines[0] == {"project": TRACKIO_PROJECT, "name": run.id[:6], "space_id": None}
    losses = [line["logged"]["train/loss"] for line in lines if "train/loss" in line.get("logged", {})]
    assert losses == pytest.approx([point.loss for point in view(run).points], rel=1e-3)
