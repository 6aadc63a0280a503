"""What Gradio is spared is missed by nobody, and nobody's session writes into another's."""

from __future__ import annotations

import sys
import tracemalloc

import gradio as gr
import pytest
from gradio.blocks import BlocksConfig
from gradio.state_holder import SessionState

from components import app, overheads
from components.context import Studio


@pytest.fixture(scope="module")
def page(tiny_studio: Studio):
    return app.build(tiny_studio)


def test_a_session_keeps_nothing_of_a_page_that_all_share(page) -> None:
    tracemalloc.start()
    try:
        sessions = [SessionState(page) for _ in range(20)]
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(page.blocks) > 300
    assert list(sessions[0].components) == []
    # Gradio by itself: 0.6 MB.
    assert size / len(sessions) < 150_000


def test_what_a_session_changes_is_its_own_and_described(page) -> None:
    first, second = SessionState(page), SessionState(page)
    number = next(number for number, block in page.blocks.items() if isinstance(block, gr.Textbox))
    first._update_value_in_config(number, "mine")
    assert list(second.components) == list(first.components) == []
    changed = gr.Textbox("mine", render=False)
    first[number] = changed
    first._update_config(number)
    assert first[number] is changed and second[number] is page.blocks[number]
    assert first.config_values[number] == BlocksConfig.config_for_block(number, [], changed)
    assert list(second.components) == []


def test_the_page_itself_is_described_in_full(page) -> None:
    described = page.get_config_file()["components"]
    assert len(described) > 300
    assert all(each["props"] and each["type"] for each in described)


def test_a_missing_matplotlib_is_not_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    monkeypatch.setattr(overheads.importlib.util, "find_spec", lambda name: None)
    overheads.never_look_for_matplotlib()
    assert sys.modules["matplotlib"] is None
    with pytest.raises(ImportError):
        __import__("matplotlib")


def test_an_installed_matplotlib_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    monkeypatch.setattr(overheads.importlib.util, "find_spec", lambda name: object())
    overheads.never_look_for_matplotlib()
    assert "matplotlib" not in sys.modules
