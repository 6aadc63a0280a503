"""What Gradio does for every visitor and every event, made cheap where the studio has no use for it."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import gradio as gr
from gradio.blocks import Block, BlocksConfig


def share_descriptions(page: gr.Blocks) -> None:
    """Let all sessions of a page that was built share what Gradio says of its components.

    For each new session it describes every component once more, so that a deep link could restore it: on this page a
    tenth to a quarter of a second of the thread that serves everybody, thirty times when thirty people arrive. The
    studio's links name a tab only, and the descriptions are the same for all: one is made, and copied.
    """
    page.default_config.__class__ = _SharedConfig


def never_look_for_matplotlib() -> None:
    """Let imports of a matplotlib that is not installed fail at once.

    Gradio tries before and after every event, and Python then searches all of its directories: a third of what thirty
    streams cost the thread that serves everybody.
    """
    if importlib.util.find_spec("matplotlib") is None:
        sys.modules.setdefault("matplotlib", None)  # type: ignore[arg-type]


class _SharedConfig(BlocksConfig):
    """The configuration of the page, and, copied, of a session."""

    _described: dict[Block, dict[str, Any]]

    def config_for_block(  # type: ignore[override]
        self, _id: int, rendered_ids: list[int], block: Block, renderable: Any = None
    ) -> dict[str, Any]:
        if renderable is not None or self.root_block.blocks.get(_id) is not block:
            return BlocksConfig.config_for_block(_id, rendered_ids, block, renderable)
        described = self.root_block.default_config.__dict__.setdefault("_described", {})
        if block not in described:
            described[block] = BlocksConfig.config_for_block(_id, rendered_ids, block)
        config = described[block]
        # A session writes into its own props.
        return config | {"props": dict(config["props"])}

    def __copy__(self) -> BlocksConfig:
        copied = super().__copy__()
        copied.__class__ = _SharedConfig
        return copied
