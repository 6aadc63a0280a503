"""The page: title, running pair, and the eight tabs in the chapter's order."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable

import gradio as gr
from starlette.middleware import Middleware

from components import (
    api,
    delivery,
    drawings,
    health,
    languages,
    pair,
    presentation,
    room,
    room_routes,
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
from components.boundary import Page
from components.context import Studio
from components.lesson import Lesson
from components.overheads import describe_no_sessions, never_look_for_matplotlib
from pipelines.stages import ASSETS, STAGES
from pipelines.visiting import limits_of

TITLE = "The fine-tuning studio"
SCRIPTS = sorted((ASSETS / "js").glob("*.js"))  # in this order, a part before what is made of it
FORGET_FILES = (3600, 86_400)  # seconds: how often uploads and saved files are looked through, how old they get
MAX_SESSIONS = 2000  # pages whose choices are kept on the server; the one longest unused is forgotten first
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

# A link that names a tab opens it.
_OPEN_LINKED = """() => {
  const wanted = studioTab.linked(%s);
  return wanted ? {selected: wanted, __type__: "update"} : {__type__: "update"};
}"""


def build(studio: Studio) -> gr.Blocks:
    """The whole page, not yet served. Imports nothing that loads models."""
    with Page(title=TITLE, analytics_enabled=False, delete_cache=FORGET_FILES) as page:
        # First, so that no event of the page takes an endpoint's name and leaves it `stop_2`.
        api.register(studio)
        lesson = Lesson()
        with gr.Row(elem_classes="masthead"):
            gr.HTML(f"<h1>{TITLE}</h1>", elem_classes="title")
            pair.build(studio, page)
            presentation.build(studio, page)
            room.build()
        with gr.Tabs(elem_classes="stages", overflow_behavior="wrap") as tabs:
            for stage in STAGES:
                _BUILD[stage.key](studio, lesson)
        keys = json.dumps([stage.key for stage in STAGES])
        page.load(None, None, [tabs], js=_OPEN_LINKED % keys, api_visibility="private")
        lesson.connect(page)
        drawings.build(studio, page)
    describe_no_sessions(page)
    return page


def _head() -> str:
    styles = "".join(f"<style>{path.read_text(encoding='utf-8')}</style>" for path in theme.AS_IT_IS)
    return styles + "".join(f"<script>{path.read_text(encoding='utf-8')}</script>" for path in SCRIPTS)


def serve(page: gr.Blocks, studio: Studio) -> None:
    """Start serving and return; the caller decides how long."""
    settings = studio.settings
    never_look_for_matplotlib()
    page.launch(
        server_name=settings.host,
        server_port=settings.port,
        share=settings.share,
        auth=list(settings.auth) or None,
        max_file_size=limits_of(settings).upload_bytes,
        prevent_thread_lock=True,
        show_error=True,
        theme=theme.theme(),
        css_paths=theme.STYLES,
        head=_head(),
        mcp_server=importlib.util.find_spec("mcp") is not None,
        footer_links=["api", "settings"],
        ssr_mode=False,
        # Each stream holds a thread while it waits for its next words; anyio's forty would be a queue of their own.
        max_threads=MAX_STREAMS,
        state_session_capacity=MAX_SESSIONS,
        run_history=False,
        i18n=languages.translate(page),
        app_kwargs={
            "routes": [*health.routes(studio), *room_routes.routes(studio), *delivery.routes()],
            "middleware": [Middleware(delivery.PackedPage)],
        },
        # Gradio otherwise asks itself for the page and gives up after three seconds, which a busy machine needs.
        _frontend=False,
    )
