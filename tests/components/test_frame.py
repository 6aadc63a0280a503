from __future__ import annotations

import re

import gradio as gr
import pytest

from components.context import Studio
from components.frame import stage_frame
from pipelines.errors import InputError
from pipelines.settings import Settings
from pipelines.stages import STAGES


def html_in_order(page: gr.Blocks) -> str:
    return "".join(str(block.value) for block in page.blocks.values() if isinstance(block, gr.HTML))


def test_a_tab_shows_its_step_and_the_verbs_in_their_order() -> None:
    studio = Studio.of(Settings())
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs(), stage_frame("problem") as frame:
        gr.HTML("<p>the tool</p>")
        frame.prove(studio)
        frame.take_home(lambda: "print()", [], "data.py")
    text = re.sub(r"<[^>]+>", " ", html_in_order(page))
    assert "Step 1 / 8 ·  Problem" in text
    assert re.findall(r"Explain|Play|the tool|Prove|Expected here|Take home", text) == [
        "Explain", "Play", "the tool", "Prove", "Expected here", "Take home"
    ]  # fmt: skip


def test_take_home_may_hold_several_files_under_one_heading() -> None:
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs(), stage_frame("qlora") as frame:
        frame.take_home(lambda: "print()", [], "train.py")
        frame.take_home(lambda: "a: 1", [], "accelerate.yaml", label="Accelerate")
    assert html_in_order(page).count("Take home") == 1
    languages = [block.language for block in page.blocks.values() if isinstance(block, gr.Code)]
    assert languages == ["python", "yaml"]


def test_a_script_follows_its_inputs_and_the_opening_of_its_tab() -> None:
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs(), stage_frame("lora") as frame:
        rank = gr.Slider()
        code = frame.take_home(lambda r: f"r={r}", [rank], "lora.py")
    events = [d for d in page.config["dependencies"] if d["outputs"] == [code._id]]
    heard = [tuple(target) for event in events for target in event["targets"]]
    assert heard == [(frame.tab._id, "select"), (rank._id, "change")]
    assert {event["api_visibility"] for event in events} == {"private"}


def test_a_follower_hears_the_opening_of_its_tab_and_changes_while_it_is_open() -> None:
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs(), stage_frame("lora") as frame:
        rank, drawn = gr.Slider(), gr.HTML()
        frame.follow(lambda r: f"r={r}", [rank], [drawn])
    opened, changed = (d for d in page.config["dependencies"] if d["outputs"] == [drawn._id])
    assert [tuple(target) for target in opened["targets"]] == [(frame.tab._id, "select")]
    assert [tuple(target) for target in changed["targets"]] == [(rank._id, "change")]
    assert '"stage-lora"' in changed["js"]
    handler = page.fns[changed["id"]].fn
    assert handler(4, True) == "r=4"
    assert handler(4, False) == gr.skip()


def test_what_play_says_take_home_does_not_repeat() -> None:
    def script(targets: str) -> str:
        raise InputError("'q_porj' is not known", "targets", "Use q_proj.")

    for play_says in (True, False):
        with gr.Blocks(analytics_enabled=False) as page, gr.Tabs(), stage_frame("lora") as frame:
            code = frame.take_home(script, [gr.Textbox()], "lora.py", play_says=play_says)
        handlers = [page.fns[d["id"]].fn for d in page.config["dependencies"] if d["outputs"] == [code._id]]
        if play_says:
            assert [handler("q_porj", *more) for handler, more in zip(handlers, ([], [True]), strict=True)] == (
                [gr.skip()] * 2
            )
        else:
            with pytest.raises(gr.Error, match="Use q_proj"):
                handlers[0]("q_porj")


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.key)
def test_the_button_of_a_tab_carries_the_name_of_its_stage(stage: object) -> None:
    with gr.Blocks(analytics_enabled=False), gr.Tabs(), stage_frame(stage.key) as frame:  # type: ignore[attr-defined]
        pass
    assert frame.tab.label == stage.title  # type: ignore[attr-defined]
