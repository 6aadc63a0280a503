"""How the studio looks: one accent, system fonts, and the tokens that the sheets in assets/css build upon."""

from __future__ import annotations

import gradio as gr
from gradio.themes.utils.colors import Color

from pipelines.stages import ASSETS

# Gradio rewrites the sheets that it is given: it leaves out @container, and puts rules within @media under its own
# container, where they miss the layers that lie beside it. These go into the page's head as they are.
AS_IT_IS = tuple(ASSETS / "css" / f"{name}.css" for name in ("drawings", "lesson", "room"))
# One sheet for each part of the page that has looks of its own.
STYLES = sorted(set((ASSETS / "css").glob("*.css")) - set(AS_IT_IS))

_ACCENT = Color(
    name="accent",
    c50="#eef3fd", c100="#dce6fb", c200="#bccff6", c300="#93b1ef", c400="#6b90e4", c500="#3f6ad3",
    c600="#2a54bd", c700="#22459c", c800="#1d397f", c900="#182e64", c950="#101d40",
)  # fmt: skip
_INK = Color(
    name="ink",
    c50="#f7f8f9", c100="#eef0f2", c200="#dfe3e7", c300="#c5cbd2", c400="#98a1ac", c500="#697482",
    c600="#4d5763", c700="#39414b", c800="#252b33", c900="#181d23", c950="#101419",
)  # fmt: skip


def theme() -> gr.themes.Base:
    """The Gradio theme; names fonts that machines already have, so that nothing is fetched."""
    return gr.themes.Base(
        primary_hue=_ACCENT,
        secondary_hue=_ACCENT,
        neutral_hue=_INK,
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"],
        font_mono=[
            "ui-monospace",
            "SF Mono",
            "Cascadia Code",
            "Menlo",
            "Consolas",
            "DejaVu Sans Mono",
            "monospace",
        ],
        radius_size=gr.themes.sizes.radius_sm,
    ).set(
        body_background_fill="white",
        body_background_fill_dark="*neutral_950",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_padding="0px",
        block_shadow="none",
        block_border_width="0px",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_300",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        input_border_color="*neutral_300",
        input_border_color_dark="*neutral_700",
        input_background_fill="white",
        input_background_fill_dark="*neutral_900",
        input_border_width="1px",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_500",
        button_primary_text_color="white",
        button_secondary_background_fill="*neutral_100",
        button_secondary_background_fill_hover="*neutral_200",
        button_secondary_background_fill_dark="*neutral_800",
        link_text_color="*primary_600",
        link_text_color_dark="*primary_300",
    )
