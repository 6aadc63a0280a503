"""The room in the masthead: one button and one dialog, which room.js fills. No component of Gradio's beyond that."""

from __future__ import annotations

import gradio as gr

from components.widgets.rooms import panel_html


def build() -> None:
    """Draw the button."""
    gr.HTML(panel_html(), elem_classes="room")
