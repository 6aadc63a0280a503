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


def events_of(page: gr.Blocks, output: gr.components.Component) -> list[dict[str, object]]:
    return [event for event in page.config["dependencies"] if output._id in event["outputs"]]


def test_a_follower_is_asked_past_the_queue_when_its_tab_opens_or_an_input_changes() -> None:
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs(), stage_frame("lora") as frame:
        rank, drawn = gr.Slider(), gr.HTML()
        frame.follow(lambda r: f"r={r}", [rank], [drawn])
    asked, heard = events_of(page, drawn)
    assert (asked["queue"], asked["targets"], page.fns[asked["id"]].fn(4)) == (False, [], ("r=4", ""))
    assert [tuple(target) for target in heard["targets"]] == [(frame.tab._id, "select"), (rank._id, "change")]
    assert not heard["backend_fn"]
    assert f'studioFollow({asked["id"]}, "lora", values, 2, true)' in heard["js"]
    assert {event["api_visibility"] for event in (asked, heard)} == {"private"}


def test_what_follows_a_visitors_own_state_is_asked_by_way_of_the_queue() -> None:
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs(), stage_frame("lora") as frame:
        mine, drawn = gr.State(1), gr.HTML()
        frame.follow(lambda value: f"{value}", [mine], [drawn])
    (heard,) = events_of(page, drawn)
    assert heard["queue"] and heard["backend_fn"]
    assert [tuple(target) for target in heard["targets"]] == [(frame.tab._id, "select"), (mine._id, "change")]


def test_a_script_follows_its_inputs() -> None:
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs(), stage_frame("lora") as frame:
        rank = gr.Slider()
        code = frame.take_home(lambda r: f"r={r}", [rank], "lora.py")
    assert page.fns[events_of(page, code)[0]["id"]].fn(3) == ("r=3", "")


def test_what_is_wrong_is_said_once_for_a_tab_by_way_of_the_queue() -> None:
    def script(targets: str) -> str:
        raise InputError("'q_porj' is not known", "targets", "Use q_proj.")

    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs(), stage_frame("lora") as frame:
        names = gr.Textbox()
        codes = [frame.take_home(script, [names], name) for name in ("lora.py", "more.py")]
    for code in codes:
        kept, wrong = page.fns[events_of(page, code)[0]["id"]].fn("q_porj")
        assert kept == gr.skip() and "Use q_proj" in wrong
    (said,) = (event for event in page.config["dependencies"] if event["queue"] and event["backend_fn"])
    assert [event for _, event in said["targets"]] == ["change"]
    with pytest.raises(gr.Error, match="Use q_proj"):
        page.fns[said["id"]].fn(wrong)
    assert page.fns[said["id"]].fn("") is None


def test_what_play_says_take_home_does_not_repeat() -> None:
    def script(targets: str) -> str:
        raise InputError("'q_porj' is not known", "targets", "Use q_proj.")

    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs(), stage_frame("lora") as frame:
        code = frame.take_home(script, [gr.Textbox()], "lora.py", play_says=True)
    asked, heard = events_of(page, code)
    assert page.fns[asked["id"]].fn("q_porj") == gr.skip()
    assert asked["outputs"] == heard["outputs"] == [code._id]  # nothing hears that something is wrong


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.key)
def test_the_button_of_a_tab_carries_the_name_of_its_stage(stage: object) -> None:
    with gr.Blocks(analytics_enabled=False), gr.Tabs(), stage_frame(stage.key) as frame:  # type: ignore[attr-defined]
        pass
    assert frame.tab.label == stage.title  # type: ignore[attr-defined]
