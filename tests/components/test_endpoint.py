"""Tabs of a studio whose pair a server answers for: what needs weights says so in its place, the rest goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest

from components import app
from components.context import Studio
from components.stage_base_vs_chat import _offered
from components.stage_sft import viewer
from components.widgets.distribution import distribution_html
from pipelines.errors import InputError
from tests.pipelines.remote.conftest import FakeServer, as_json, server  # noqa: F401

WHY = "Pocket base is answered by 127.0.0.1"


@pytest.fixture
def studio(server: FakeServer, tmp_path: Path) -> Iterator[Studio]:  # noqa: F811
    from pipelines.settings import Settings

    server.answer(
        "models", as_json({"data": [{"id": "hub/pocket-base"}, {"id": "hub/pocket-instruct"}, {"id": "tutor"}]})
    )
    studio = Studio.of(Settings(endpoint=server.url, runs_dir=tmp_path))
    yield studio
    studio.close()


def texts(page: gr.Blocks) -> str:
    return "\n".join(str(block.value) for block in page.blocks.values() if isinstance(block, gr.HTML))


def test_the_tabs_that_look_at_weights_say_who_answers(studio: Studio) -> None:
    shown = texts(app.build(studio))
    assert f"or to look at through NF4: {WHY}" in shown
    assert f"No weights whose change could be measured: {WHY}" in shown


def test_the_mask_is_drawn_without_losses(studio: Studio) -> None:
    conversation = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
    figures, mask, _ = viewer(studio)(conversation, "", "instruct", "assistant", 512, False)
    assert "No losses: Pocket instruct is answered by 127.0.0.1" in figures
    assert "tokens supervised" in figures and "no loss without the weights" in mask


def test_a_proof_is_refused_at_once(studio: Studio) -> None:
    with pytest.raises(InputError, match="without --endpoint to prove it on this machine"):
        studio.experiments.ask("problem")


def test_what_else_the_server_has_stands_beside_the_pair(studio: Studio) -> None:
    assert ("tutor", "tutor") in _offered(studio)
    assert [status.key for status in studio.manager.models()][:3] == ["pocket-base", "pocket-instruct", "tutor"]


def test_a_studio_starts_without_its_server(tmp_path: Path) -> None:
    from pipelines.settings import Settings

    studio = Studio.of(Settings(endpoint="http://127.0.0.1:9", pair="any/base,any/chat", runs_dir=tmp_path))
    app.build(studio)
    assert studio.manager.gauge().trouble == "no server answers at 127.0.0.1:9"
    studio.close()


def test_no_bars_is_a_sentence() -> None:
    html = distribution_html((), "Token 3: what could stand here")
    assert "Token 3" in html and "gives no probabilities" in html and "bar-row" not in html
