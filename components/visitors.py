"""Who asks: the hash of a browser's or a client's session, which says nothing about the person and is kept nowhere."""

from __future__ import annotations

import gradio as gr


def visitor_of(request: gr.Request | None) -> str:
    """The hash of the session; "" outside of one."""
    return "" if request is None else request.session_hash or ""
