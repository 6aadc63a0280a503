"""The handler behind the drawings of the tabs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from components import app, drawings, theme
from pipelines.errors import InputError
from pipelines.models import ModelManager
from pipelines.settings import Settings
from pipelines.stages import ASSETS, STAGES


def test_a_drawing_is_sent_for_its_stage():
    studio: Any = SimpleNamespace(manager=ModelManager(Settings(device="cpu")))
    html = drawings._drawer(studio)("lora")
    assert html.startswith('<figure class="drawing drawing-lora"') and "drawing-lora-tab-wide-title" in html


def test_what_the_pair_cannot_give_is_said_in_a_sentence(monkeypatch):
    def refuses(stage: str, manager: Any) -> Any:
        raise InputError("the <base> is not there", "model", "Start it first.")

    monkeypatch.setattr("pipelines.teaching.figures.figures", refuses)
    studio: Any = SimpleNamespace(manager=None)
    assert drawings._drawer(studio)("problem") == (
        '<p class="drawing-missing">There is no drawing: model: the &lt;base&gt; is not there. Start it first.</p>'
    )


def test_every_tab_keeps_room_for_its_drawing():
    rules = (ASSETS / "css" / "drawings.css").read_text(encoding="utf-8")
    assert all(f'.drawing-place[data-drawing="{stage.key}"] {{ --narrow:' in rules for stage in STAGES)


def test_the_sheet_of_the_drawings_is_sent_as_it_is():
    assert "@container" in app._head()
    assert not set(theme.AS_IT_IS) & set(theme.STYLES)
