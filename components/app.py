"""The page: title, running pair, and the eight tabs in the chapter's order."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable

import gradio as gr

from components import (
    api,
    pair,
    stage_base_vs_chat,
    stage_data,
    stage_lora,
    stage_practice,
    stage_problem,
    stage_qlora,
    stage_sft,
    stage_templates,
    theme,
)
from components.context import Studio
from components.lesson import Lesson
from components.overheads import never_look_for_matplotlib, share_descriptions
from pipelines.settings import Settings
from pipelines.stages import ASSETS, STAGES

TITLE = "The fine-tuning studio"
MAX_STREAMS = 256  # answers that can be on their way to pages at once

_BUILD: dict[str, Callable[[Studio, Lesson], None]] = {
    "problem": stage_problem.build,
    "sft": stage_sft.build,
    "data": stage_data.build,
    "templates": stage_templates.build,
    "lora": stage_lora.build,
    "qlora": stage_qlora.build,
    "practice": stage_practice.build,
    "base-vs-chat": stage_base_vs_chat.build,
}

# The address always names the open tab, and a link that names one opens it.
_OPEN_LINKED = """() => {
  const wanted = studioTab.linked(%s);
  return wanted ? {selected: wanted, __type__: "update"} : {__type__: "update"};
}"""
_OPENED = "() => studioTab.opened(%s)"


def build(studio: Studio) -> gr.Blocks:
    """The whole page, not yet served. Imports nothing that loads models."""
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        # First, so that no event of the page takes an endpoint's name and leaves it `stop_2`.
        api.register(studio)
        lesson = Lesson()
        with gr.Row(elem_classes="masthead"):
            gr.HTML(f"<h1>{TITLE}</h1>", elem_classes="title")
            pair.build(studio, page)
        with gr.Tabs(elem_classes="stages", overflow_behavior="wrap") as tabs:
            for stage in STAGES:
                _BUILD[stage.key](studio, lesson)
        for tab in tabs.children:
            tab.select(None, None, None, js=_OPENED % json.dumps(tab.id), api_visibility="private")
        keys = json.dumps([stage.key for stage in STAGES])
        page.load(None, None, [tabs], js=_OPEN_LINKED % keys, api_visibility="private")
        lesson.connect(page)
    share_descriptions(page)
    return page


def serve(page: gr.Blocks, settings: Settings) -> None:
    """Start serving and return; the caller decides how long."""
    never_look_for_matplotlib()
    page.launch(
        server_name=settings.host,
        server_port=settings.port,
        share=settings.share,
        prevent_thread_lock=True,
        show_error=True,
        theme=theme.theme(),
        css_paths=[theme.CSS],
        head=f"<script>{(ASSETS / 'js' / 'studio.js').read_text(encoding='utf-8')}</script>",
        mcp_server=importlib.util.find_spec("mcp") is not None,
        footer_links=["api", "settings"],
        ssr_mode=False,
        # Each stream holds a thread while it waits for its next words; anyio's forty would be a queue of their own.
        max_threads=MAX_STREAMS,
        run_history=False,
        # Gradio otherwise asks itself for the page and gives up after three seconds, which a busy machine needs.
        _frontend=False,
    )
