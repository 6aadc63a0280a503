"""What the Practice tab hands out: a run as a file for each tool, and the script as text."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from components.context import Studio
from components.errors import shows_input_errors
from components.practice_form import Form, config_of
from components.practice_hub import draw_hub
from pipelines.errors import InputError
from pipelines.finetune import FinetuneConfig
from pipelines.finetune.exports import export
from pipelines.finetune.launching import launch_commands
from pipelines.finetune.script import training_script

# Tool, what its button says, and what the press downloads.
OFFERED = (
    ("trl", "TRL script", "one file that repeats the run: python or uv run"),
    ("axolotl", "Axolotl", "config.yaml with the run's tokenized rows"),
    ("llama-factory", "LLaMA-Factory", "train.yaml with the run's tokenized rows"),
    ("unsloth", "Unsloth", "one file, for a GPU or without one"),
    ("adapter", "Adapter", "for PEFT, with its card and losses"),
    ("losses", "Losses", "the curve as a table (CSV), also while it trains"),
    ("merged", "Merged model", "for transformers alone; the difference that merging makes is measured"),
)

# A press writes the file and hands it over at once; Gradio's own button would want a second press.
_DOWNLOAD = """(file) => {
  if (!file) return;
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name || "";
  link.click();
}"""


def draw_exports(studio: Studio, run: gr.components.Component) -> None:
    """A button for each tool, which downloads the run shown for it."""
    said = "; ".join(f"**{title}**: {what}" for _, title, what in OFFERED)
    gr.Markdown(f"The run shown, as a file that runs or loads as it is. {said}.", elem_classes="export-note")
    with gr.Row(elem_classes="keep exports"):
        file = gr.DownloadButton(visible="hidden")
        for tool, title, _ in OFFERED:
            saved = gr.Button(
                f"Download {title}", size="sm", scale=0, min_width=180, elem_classes=f"export-{tool}"
            ).click(saver(studio, tool), [run], [file], api_visibility="private", show_progress="minimal")
            saved.success(None, [file], None, js=_DOWNLOAD, api_visibility="private")
    draw_hub(studio, run)


def saver(studio: Studio, tool: str) -> Callable[[str], str]:
    """The handler that writes the run shown for a tool."""

    @shows_input_errors
    def save(run_id: str) -> str:
        if not run_id:
            raise InputError("no run is shown", "Download", "Start one, or choose one.")
        return str(exported(studio, run_id, tool))

    return save


def exported(studio: Studio, run_id: str, tool: str) -> Path:
    """The file of a run for a tool, where Gradio may serve it. Raises InputError."""
    run = studio.runs.directory(run_id)
    # Gradio serves files of the temporary directory, wherever the runs are kept.
    return export(run, tool, Path(tempfile.gettempdir()) / "fine-tuning-studio" / run.id, studio.manager)


def script_writer(studio: Studio) -> Callable[..., str]:
    """The handler of Take home: the script of the form as it stands, all defaults worked out."""

    def write(*values: Any) -> str:
        planned = studio.runs.plan(config_of(Form.names(), values))
        return training_script(planned.config, planned.model)

    return write


def command_writer(studio: Studio) -> Callable[..., str]:
    """The handler of Take home: the commands that train the form as it stands with several processes."""

    def write(*values: Any) -> str:
        asked = FinetuneConfig.from_dict(config_of(Form.names(), values))
        studio.runs.plan(asked)  # raises what is wrong with it
        named = studio.settings.pair
        # Folders of this machine are not shown; who launches a run knows them.
        return launch_commands(asked, pair="BASE,INSTRUCT" if "," in named else named)

    return write
