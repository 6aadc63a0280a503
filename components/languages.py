"""The words of the controls in the language of the browser. English stands in the code and is the key of the others.

Gradio sends every language with the page, and the browser picks. Only controls are translated: what a stage explains,
draws and measures stays English, as the chapter and the models are.
"""

from __future__ import annotations

import re
import tomllib

import gradio as gr
from gradio.blocks import Block
from gradio.i18n import I18nData

from pipelines.stages import ASSETS

# Locales of Gradio's own words, and the file with ours.
LANGUAGES = {"de": "de", "es": "es", "fr": "fr", "zh-CN": "zh"}
_SAVE = "Download {file}"


def words(language: str) -> dict[str, str]:
    """English → that language, of `assets/languages/<language>.toml`."""
    return tomllib.loads((ASSETS / "languages" / f"{language}.toml").read_text(encoding="utf-8"))


def said(english: str) -> str:
    """The English words as a mark that the browser replaces; also within markup, once in each component."""
    return str(I18nData(english))


def translate(page: gr.Blocks) -> gr.I18n:
    """Mark the words of every control of `page`; returns the languages, for `launch`."""
    known = {locale: words(language) for locale, language in LANGUAGES.items()}
    everywhere = set.intersection(*(set(table) for table in known.values()))
    for block in page.blocks.values():
        for name, text in control_words(block):
            key, before, after = _parts(text, everywhere)
            if key is None:
                continue
            setattr(block, name, before + said(key) + after)
            if key not in everywhere:  # the name of a file within a sentence
                for table in known.values():
                    table[key] = table[_SAVE].format(file=key.removeprefix("Download "))
    english = {key: key for key in next(iter(known.values()))}
    return gr.I18n(en=english, **known)


def control_words(block: Block) -> list[tuple[str, str]]:
    """(attribute, text) of what a control says about itself."""
    names = ["label", "info", "placeholder", *(["value"] if isinstance(block, gr.Button) else [])]
    found = ((name, getattr(block, name, None)) for name in names)
    return [(name, text) for name, text in found if isinstance(text, str) and text]


def _parts(text: str, known: set[str]) -> tuple[str | None, str, str]:
    """What is translated of a text, what stands before it, and what after: 'A: Steps', 'Script · lora.py'."""
    if text in known:
        return text, "", ""
    if re.fullmatch(r"Download [\w.]+\.\w+", text):
        return text, "", ""
    if (found := re.fullmatch(r"([AB]: )(.+)", text)) and found[2] in known:
        return found[2], found[1], ""
    head, dot, tail = text.partition(" · ")
    return (head, "", dot + tail) if head in known else (None, "", "")
