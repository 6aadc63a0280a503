"""What Gradio does for every visitor and every event, made cheap where the studio has no use for it."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import gradio as gr
from gradio.blocks import Block, BlocksConfig


def describe_no_sessions(page: gr.Blocks) -> None:
    """Let the sessions of a page that was built keep no description of its components.

    For each new session Gradio describes every component once more, so that a deep link could restore it: on this page
    a tenth to a quarter of a second of the thread that serves everybody, thirty times when thirty people arrive, and
    0.6 MB that stays until ten thousand others have come. The studio's links name a tab only.
    """
    page.default_config.__class__ = _CopiedBare


def never_look_for_matplotlib() -> None:
    """Let imports of a matplotlib that is not installed fail at once.

    Gradio tries before and after every event, and Python then searches all of its directories: a third of what thirty
    streams cost the thread that serves everybody.
    """
    if importlib.util.find_spec("matplotlib") is None:
        sys.modules.setdefault("matplotlib", None)  # type: ignore[arg-type]


class _CopiedBare(BlocksConfig):
    """The configuration of the page, of which sessions keep copies."""

    def __copy__(self) -> BlocksConfig:
        copied = super().__copy__()
        copied.__class__ = _OfSession
        return copied


class _OfSession(BlocksConfig):
    """The configuration of a session: only what is its own, or drawn for it alone, is described."""

    def config_for_block(  # type: ignore[override]
        self, _id: int, rendered_ids: list[int], block: Block, renderable: Any = None
    ) -> dict[str, Any]:
        if renderable is None and self.root_block.blocks.get(_id) is block:
            return _UNTOLD
        return BlocksConfig.config_for_block(_id, rendered_ids, block, renderable)


_UNTOLD: dict[str, Any] = {}  # what Gradio takes for no description, and writes nothing into
