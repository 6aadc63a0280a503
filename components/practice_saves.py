"""What the Practice tab hands out: the adapter, the script with its rows, and the script as text."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.context import Studio
from components.errors import shows_input_errors
from components.practice_form import Form, config_of
from pipelines.errors import InputError
from pipelines.finetune import RunDirectory
from pipelines.finetune.export import adapter_archive, script_archive
from pipelines.finetune.script import training_script

# A press writes the archive and hands it over at once; Gradio's own button would want a second press.
DOWNLOAD = """(file) => {
  if (!file) return;
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name || "";
  link.click();
}"""


def adapter_saver(studio: Studio) -> Callable[[str], str]:
    """The handler that packs the adapter of the run shown."""

    @shows_input_errors
    def save(run_id: str) -> str:
        run = _chosen(studio, run_id)
        return str(adapter_archive(run, _folder(run)))

    return save


def script_saver(studio: Studio) -> Callable[[str], str]:
    """The handler that packs what repeats the run shown without the studio."""

    @shows_input_errors
    def save(run_id: str) -> str:
        run = _chosen(studio, run_id)
        return str(script_archive(run, _folder(run)))

    return save


def script_writer(studio: Studio) -> Callable[..., str]:
    """The handler of Take home: the script of the form as it stands, all defaults worked out."""

    @shows_input_errors
    def write(*values: Any) -> str:
        planned = studio.runs.plan(config_of(Form.names(), values))
        return training_script(planned.config, planned.model)

    return write


def _chosen(studio: Studio, run_id: str) -> RunDirectory:
    if not run_id:
        raise InputError("no run is shown", "Download", "Start one, or choose one.")
    return studio.runs.directory(run_id)


def _folder(run: RunDirectory) -> Path:
    """Gradio serves files of the temporary directory, wherever the runs are kept."""
    return Path(tempfile.gettempdir()) / "fine-tuning-studio" / run.id
