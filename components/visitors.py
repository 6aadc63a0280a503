"""Who asks: ids that say nothing about the person, and are written nowhere."""

from __future__ import annotations

import re

import gradio as gr

from pipelines.errors import InputError

_ID = re.compile(r"[0-9a-f]{32}")  # what studio.js makes, and the browser keeps


def visitor_of(request: gr.Request | None) -> str:
    """The hash of a browser's or a client's session; "" outside of one."""
    return "" if request is None else request.session_hash or ""


def known_visitor(visitor: object, where: str) -> str:
    """The id by which a browser is counted, over reloads too. Raises InputError for anything else."""
    if not isinstance(visitor, str) or not _ID.fullmatch(visitor):
        raise InputError("this browser has no id to be counted by", where, "Reload the page.")
    return visitor
