"""The drawing of each stage below its Explain: the place is in the page, the drawing comes once the place is seen.

It is asked for past Gradio's queue, one hidden handler for all eight; `assets/js/drawings.js` does the asking.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import gradio as gr

from components.context import Studio
from components.widgets.drawings import drawing_html
from pipelines.errors import InputError

_SERVE = "() => studioDrawings.serve(%d)"


def draw_place(stage: str) -> None:
    """An empty place, as high as its drawing is going to be (`assets/css/drawings.css`)."""
    place = f'<div class="drawing-place" data-drawing="{stage}"><p class="quiet">Drawing …</p></div>'
    gr.HTML(place, elem_classes="drawing-row", js_on_load="studioDrawings.place(element)")


def build(studio: Studio, page: gr.Blocks) -> None:
    """Let the page ask for drawings."""
    button = gr.Button(visible=False)
    stage, drawn = gr.Textbox(visible=False), gr.Textbox(visible=False)
    asked = button.click(_drawer(studio), [stage], [drawn], queue=False, api_visibility="private")
    page.load(None, None, None, js=_SERVE % asked["id"], api_visibility="private")


def _drawer(studio: Studio) -> Callable[[str], str]:
    def draw(stage: str) -> str:
        from pipelines.teaching.figures import figures

        try:
            return drawing_html(stage, figures(stage, studio.manager), "tab")
        except InputError as error:
            return f'<p class="drawing-missing">There is no drawing: {escape(str(error))}</p>'

    return draw
