"""The frame of every tab: the step, Explain, Play, Prove and Take home, each always in the same place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePath

import gradio as gr

from components.errors import shows_input_errors
from pipelines.stages import STAGES, stage

_LANGUAGES = {
    ".py": "python",
    ".json": "json",
    ".jsonl": "json",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".sh": "shell",
}
_LANGUAGES |= {".jinja": "jinja2", ".md": "markdown"}

# The browser keeps the file: nothing a person made is written to the server's disk.
_DOWNLOAD = """(text) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text ?? ""], {type: "text/plain;charset=utf-8"}));
  link.download = %s;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}"""


@dataclass(slots=True)
class StageFrame:
    """One tab while it is being built. `tab.select` is heard when a person opens it."""

    tab: gr.Tab
    key: str
    _parts: list[str] = field(default_factory=list)

    def section(self, verb: str) -> None:
        """The heading of one of the four verbs."""
        gr.HTML(f'<h3 class="verb">{verb}</h3>', elem_classes="verb-row")

    def prove(self, draw: Callable[[], None]) -> None:
        """The Prove block; `draw` creates its components. Called before `take_home`."""
        self.section("Prove")
        draw()

    def take_home(
        self,
        script: Callable[..., str],
        inputs: Sequence[gr.components.Component],
        filename: str,
        label: str = "Script",
    ) -> gr.Code:
        """The Take home block: `script(*inputs)` shown as code, kept up to date, and saved as `filename`.

        May be called more than once; the heading is drawn once.
        """
        if "Take home" not in self._parts:
            self._parts.append("Take home")
            self.section("Take home")
        with gr.Column(elem_classes="take-home"):
            code = gr.Code(
                language=_LANGUAGES.get(PurePath(filename).suffix),  # type: ignore[arg-type]
                label=f"{label} · {filename}",
                lines=4,
                max_lines=18,
                interactive=False,
                buttons=["copy"],
                elem_classes="take-home-code",
            )
            save = gr.Button(f"Download {filename}", size="sm", elem_classes="take-home-save")
        save.click(None, [code], None, js=_DOWNLOAD % json.dumps(filename), api_visibility="private")
        heard = [component.change for component in inputs if hasattr(component, "change")]
        gr.on(
            [self.tab.select, *heard],
            shows_input_errors(script),
            list(inputs),
            [code],
            show_progress="hidden",
            trigger_mode="always_last",
            api_visibility="private",
        )
        return code


@contextmanager
def stage_frame(key: str) -> Iterator[StageFrame]:
    """The tab of stage `key`: Explain is drawn at its top, what the with-block creates is Play."""
    this = stage(key)
    with gr.Tab(this.title, id=this.key, elem_id=f"stage-{this.key}", elem_classes="stage") as tab:
        frame = StageFrame(tab, key)
        gr.HTML(
            f'<p class="step"><span class="of">Step {this.number} / {len(STAGES)} · </span>{this.title}</p>',
            elem_classes="step-row",
        )
        frame.section("Explain")
        gr.Markdown(this.explain, elem_classes="explain")
        frame.section("Play")
        yield frame
