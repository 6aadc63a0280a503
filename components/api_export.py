"""The endpoint that hands out what a run is exported as."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from components.context import Studio
from components.practice_saves import exported


def export_endpoint(studio: Studio) -> Callable[[str, str], gr.FileData]:
    """The handler of /export; see its own docstring, which is what callers read."""

    def export(run_id: str, tool: str) -> gr.FileData:
        """A run as a file that runs or loads as it is.

        tool: trl and unsloth are Python files that bring their rows; axolotl, llama-factory, adapter and merged are
        zip archives of one folder: a configuration with its rows, the adapter, or the model with the adapter merged in.
        """
        path = exported(studio, run_id, tool)
        return gr.FileData(path=str(path), orig_name=path.name)

    return export
