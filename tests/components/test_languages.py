"""Every word of every control is known in every language, and nothing else is."""

from __future__ import annotations

import json
import re

import gradio as gr
import pytest

from components import app
from components.context import Studio
from components.languages import LANGUAGES, control_words, said, translate, words
from pipelines.settings import Settings

# What is not translated: names of arguments, files and methods, what an English model is asked, and what Gradio calls a
# button that nobody sees.
NAMES = re.compile(
    r"Run|[a-z_]+|config\.json|\w*oRA|SFT|GPUs|owner/name|my-first-adapter|\w+ \w+\.\w+|\d+(st|nd|rd|th)"
    r"|(What|Who) .+\?|The .+ (is|of)|[^·]+ · [\w.]+"
)


def page_with_its_words() -> tuple[gr.Blocks, set[str]]:
    page = app.build(Studio.of(Settings()))
    return page, {text for block in page.blocks.values() for _, text in control_words(block)}


def test_every_word_of_the_page_is_known_and_every_known_word_is_on_it() -> None:
    page, before = page_with_its_words()
    languages = translate(page).translations
    left = {text for block in page.blocks.values() for _, text in control_words(block) if "__i18n__" not in text}
    assert {text for text in left if not NAMES.fullmatch(text)} == set()
    shown = " ".join(before)
    known = set(words("de"))
    assert {word for word in known if word.partition("{")[0] not in shown} == {
        "Explain", "Play", "Take home", "Copy link",
    }  # fmt: skip
    assert all(set(table) == set(languages["en"]) for table in languages.values())


@pytest.mark.parametrize("language", LANGUAGES.values())
def test_a_language_has_the_words_of_all_and_keeps_places_and_signs(language: str) -> None:
    table = words(language)
    assert set(table) == set(words("de"))
    assert all(text.strip() for text in table.values())
    assert all(re.findall(r"\{\w+\}", key) == re.findall(r"\{\w+\}", text) for key, text in table.items())


def test_a_file_within_a_sentence_keeps_its_name() -> None:
    with gr.Blocks(analytics_enabled=False) as page:
        button = gr.Button("Download train.py")
        code = gr.Code(label="Script · train.py")
        knob = gr.Number(label="A: Steps")
    german = translate(page).translations["de"]
    assert button.value == said("Download train.py")
    assert german["Download train.py"] == words("de")["Download {file}"].format(file="train.py")
    assert code.label == f"{said('Script')} · train.py" and knob.label == f"A: {said('Steps')}"


def test_a_mark_is_what_the_browser_looks_for() -> None:
    mark = said("Explain")
    assert json.loads(mark.removeprefix("__i18n__")) == {"__type__": "translation_metadata", "key": "Explain"}
