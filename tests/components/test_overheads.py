"""What is spared Gradio is still what Gradio would have said, and nobody's session writes into another's."""

from __future__ import annotations

import sys

import pytest
from gradio.blocks import BlocksConfig
from gradio.state_holder import SessionState

from components import app, overheads
from components.context import Studio


@pytest.fixture(scope="module")
def page(tiny_studio: Studio):
    return app.build(tiny_studio)


def test_a_session_is_described_as_gradio_describes_it(page) -> None:
    session = SessionState(page)
    assert len(session.config_values) > 300
    for number, described in session.config_values.items():
        block = page.blocks[number]
        assert described == BlocksConfig.config_for_block(number, [], block)


def test_a_block_is_described_once_for_all_sessions(page, monkeypatch: pytest.MonkeyPatch) -> None:
    SessionState(page)
    asked = []
    kind = type(next(iter(page.blocks.values())))
    original = kind.get_config
    monkeypatch.setattr(kind, "get_config", lambda block, *given: asked.append(block) or original(block, *given))
    SessionState(page)
    assert asked == []


def test_what_one_session_sets_is_not_in_another(page) -> None:
    first, second = SessionState(page), SessionState(page)
    number = next(number for number, config in first.config_values.items() if config["type"] == "textbox")
    first._update_value_in_config(number, "mine")
    assert first.config_values[number]["props"]["value"] == "mine"
    assert second.config_values[number]["props"].get("value") != "mine"
    assert SessionState(page).config_values[number]["props"].get("value") != "mine"


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
