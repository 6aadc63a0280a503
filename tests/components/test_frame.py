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


def test_a_follower_hears_the_opening_of_its_tab_and_is_asked_past_the_queue_by_changes() -> None:
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs(), stage_frame("lora") as frame:
        rank, drawn = gr.Slider(), gr.HTML()
        frame.follow(lambda r: f"r={r}", [rank], [drawn])
    opened, asked, changed, said = events_of(page, drawn)
    assert [tuple(target) for target in opened["targets"]] == [(frame.tab._id, "select")]
    assert (asked["queue"], page.fns[asked["id"]].fn(4)) == (False, ("r=4", ""))
    assert [tuple(target) for target in changed["targets"]] == [(rank._id, "change")]
    assert not changed["backend_fn"]
    assert f'studioFollow({asked["id"]}, "stage-lora", values, 2)' in changed["js"]
    assert [event for _, event in said["targets"]] == ["change"]
    assert {event["api_visibility"] for event in (opened, asked, changed, said)} == {"private"}


def test_a_script_follows_its_inputs() -> None:
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs(), stage_frame("lora") as frame:
        rank = gr.Slider()
        code = frame.take_home(lambda r: f"r={r}", [rank], "lora.py")
    assert [page.fns[event["id"]].fn(3) for event in events_of(page, code)[:2]] == ["r=3", ("r=3", "")]


def test_what_is_wrong_is_said_by_way_of_the_queue_and_nowhere_else() -> None:
    def script(targets: str) -> str:
        raise InputError("'q_porj' is not known", "targets", "Use q_proj.")

    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs(), stage_frame("lora") as frame:
        code = frame.take_home(script, [gr.Textbox()], "lora.py")
    opened, asked, _, said = (page.fns[event["id"]].fn for event in events_of(page, code))
    kept, wrong = asked("q_porj")
    assert kept == gr.skip() and "Use q_proj" in wrong
    for handler, values in ((opened, ["q_porj"]), (said, ["q_porj", wrong])):
        with pytest.raises(gr.Error, match="Use q_proj"):
            handler(*values)
    assert said("q_proj", "") == gr.skip()


def test_what_play_says_take_home_does_not_repeat() -> None:
    def script(targets: str) -> str:
        raise InputError("'q_porj' is not known", "targets", "Use q_proj.")

    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs(), stage_frame("lora") as frame:
        code = frame.take_home(script, [gr.Textbox()], "lora.py", play_says=True)
    events = events_of(page, code)
    assert len(events) == 3  # nothing hears that something is wrong
    assert page.fns[events[0]["id"]].fn("q_porj") == gr.skip()
    assert page.fns[events[1]["id"]].fn("q_porj")[0] == gr.skip()


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.key)
def test_the_button_of_a_tab_carries_the_name_of_its_stage(stage: object) -> None:
    with gr.Blocks(analytics_enabled=False), gr.Tabs(), stage_frame(stage.key) as frame:  # type: ignore[attr-defined]
        pass
    assert frame.tab.label == stage.title  # type: ignore[attr-defined]
