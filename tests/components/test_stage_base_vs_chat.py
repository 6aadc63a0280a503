"""The handlers of Base vs Chat, called as Gradio calls them, and the markup they return."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
import pytest

from components import stage_base_vs_chat as stage
from components.context import Studio
from components.widgets.answers import answers_html, merge_html, proof_html, road_html
from pipelines.blind_vote import BlindVote
from pipelines.comparison import BaseProof, MergeReport
from pipelines.completion import Completion
from pipelines.errors import InputError
from pipelines.experiments import ExperimentService
from pipelines.models import ModelManager
from pipelines.road import OwnStage, road
from pipelines.together import Answer
from tests.conftest import write_adapter


@dataclass(frozen=True)
class View:
    run_id: str
    title: str


class Runs:
    """In place of the fine-tuning service: titles only."""

    def list(self) -> list[View]:
        return [View("one", "tiny · lora r=4")]

    def view(self, run_id: str) -> View:
        found = next((view for view in self.list() if view.run_id == run_id), None)
        if found is None:
            raise InputError(f"there is no run '{run_id}'", "run_id")
        return found


@pytest.fixture
def studio(tiny_pair: Any) -> Studio:
    runs = tiny_pair.base.parent / "runs"
    write_adapter(tiny_pair.base, runs / "one" / "adapter", 1)
    shutil.copytree(tiny_pair.instruct, runs / "full" / "model")
    manager = ModelManager(tiny_pair.settings)
    return Studio(tiny_pair.settings, manager, Runs(), ExperimentService(tiny_pair.settings))  # type: ignore[arg-type]


def test_runs_are_offered_and_the_newest_is_chosen_at_once(studio: Studio) -> None:
    look = stage.run_lister(studio)
    known, boxes, merge = look((), [], None)
    assert set(known) == {"run:one", "run:full"}
    assert dict((key, title) for title, key in boxes.choices) == {"run:one": "tiny · lora r=4", "run:full": "Run full"}
    assert boxes.value == [known[-1]]
    assert [key for _, key in merge.choices] == ["run:one"] and merge.value == "run:one"


def test_a_second_look_changes_nothing_that_a_person_has_chosen(studio: Studio) -> None:
    look = stage.run_lister(studio)
    known, _, _ = look((), [], None)
    assert look(known, [], None) == (gr.skip(), gr.skip(), gr.skip())


def test_the_columns_stream_and_the_base_is_proven_last(studio: Studio) -> None:
    seen = list(
        stage.asker(studio, stage.Asked(), BlindVote())("What is 1+1?", ["run:one", "run:full"], [], 0.0, 12, 0)
    )
    assert "✓ It is the base." in seen[-1] and "none of 1 attached" in seen[-1]
    assert seen[-1].count('class="answer answer-chat"') == 3
    assert seen[-1].count("tokens/s") >= 1
    assert 'aria-busy="true"' not in seen[-1]


def test_stop_ends_the_columns_of_this_visitor_and_says_so(studio: Studio) -> None:
    asked = stage.Asked()
    answers = stage.asker(studio, asked, BlindVote())("What is 1+1?", [], [], 1.0, 120, 0)
    next(answers)
    asked.stop()
    end = list(answers)[-1]
    assert end.count("stopped by you") == 2 and 'aria-busy="true"' not in end and "It is the base" not in end
    asked.stop()  # nothing is running any more


def test_a_blind_question_goes_to_the_vote_and_names_nobody(studio: Studio) -> None:
    vote, me = BlindVote(), "a" * 32
    seen = list(stage.asker(studio, stage.Asked(), vote)("What is 1+1?", ["run:one"], [], 0.0, 5, 0, True, me))
    assert "Asked blind" in seen[-1] and "tiny" not in "".join(seen)
    view = vote.view(me)
    assert view is not None and (view.stage, len(view.texts), view.mine) == ("voting", 3, True)
    vote.vote(me, view.number, 0)
    view = vote.view(me)
    assert view is not None and set(view.names) == {"tiny-base", "tiny-instruct", "tiny · lora r=4"}


def test_a_blind_question_that_is_stopped_or_left_is_not_voted_on(studio: Studio) -> None:
    vote, asked, me = BlindVote(), stage.Asked(), "a" * 32
    answers = stage.asker(studio, asked, vote)("What is 1+1?", [], [], 1.0, 120, 0, True, me)
    next(answers)
    asked.stop()
    assert "nothing was put to the vote" in list(answers)[-1] and vote.view(me) is None
    answers = stage.asker(studio, asked, vote)("What is 1+1?", [], [], 1.0, 120, 0, True, me)
    next(answers)
    assert vote.view(me) is not None
    answers.close()  # type: ignore[attr-defined]
    assert vote.view(me) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("  ", [], [], 0.0, 5, 0), "prompt: is empty"),
        (("x", ["run:one"] * 5, [], 0.0, 5, 0), "Trained here: 5 runs. Choose at most 4."),
        (("x", ["run:gone"], [], 0.0, 5, 0), "'run:gone' has no weights"),
        (("x", [], [], 9.0, 5, 0), "temperature: 9.0"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(studio: Studio, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(gr.Error) as raised:
        list(stage.asker(studio, stage.Asked(), BlindVote())(*arguments))
    assert message in str(raised.value)


def test_a_merge_is_measured(studio: Studio) -> None:
    html = list(stage.merger(studio)("run:one", "What is 1+1?"))[-1]
    assert "tiny · lora r=4" in html and "Largest logit difference, float32" in html


def test_merging_nothing_says_where_to_train(studio: Studio) -> None:
    with pytest.raises(gr.Error, match="Practice"):
        list(stage.merger(studio)(None, "x"))


def test_the_scripts_name_the_chosen_runs_that_are_still_there(studio: Studio) -> None:
    script = stage.script_writer(studio)("x", ["run:one", "run:gone"], [], 7)
    assert "runs/one/adapter" in script and "gone" not in script
    assert "run-one=runs/one/adapter" in stage.command_writer(studio)(["run:one"], [])


def test_another_pair_has_no_personalities_and_a_key_from_outside_is_left_out(studio: Studio) -> None:
    assert studio.manager.personalities() == []
    seen = list(stage.asker(studio, stage.Asked(), BlindVote())("What is 1+1?", [], ["pocket-poet", "../x"], 0.0, 4, 0))
    assert seen[-1].count("<section") == 2


def test_an_adapter_of_the_hub_is_added_once_and_a_whole_model_is_none(
    studio: Studio, tiny_pair: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    stored = tmp_path / "hub" / "models--ann--friend"
    write_adapter(tiny_pair.base, stored / "snapshots" / "abc", 3)
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text("abc")
    settings = replace(tiny_pair.settings, allow_any_model=True)
    open_to_all = replace(studio, settings=settings, manager=ModelManager(settings))
    add = stage.adder(open_to_all)
    added, boxes = add(" ann/friend ", (), [])
    assert added == ("ann/friend",) and boxes.value == ["ann/friend"] and boxes.choices == [("ann/friend",) * 2]
    assert add("ann/friend", added, ["ann/friend"])[0] == ("ann/friend",)
    with pytest.raises(gr.Error, match="'ann/other' is no LoRA adapter"):
        add("ann/other", added, [])
    ask = stage.asker(open_to_all, stage.Asked(), BlindVote())
    assert list(ask("What is 1+1?", [], ["ann/friend"], 0.0, 4, 0))[-1].count("<section") == 3
    assert '"ann-friend": "ann/friend"' in stage.script_writer(open_to_all)("x", [], ["ann/friend"], 7)
    with pytest.raises(gr.Error, match="--allow-any-model"):
        stage.adder(studio)("ann/friend", (), [])


def test_answers_errors_and_titles_are_escaped() -> None:
    bad = "<img src=x onerror=alert(1)>"
    answer = Answer("base", False, Completion(bad, (), 1, 1.0, "eos"))
    html = answers_html([bad, bad], [answer, Answer("x", True, None, bad)], ["", ""])
    assert "<img" not in html and html.count("&lt;img") == 4


def test_a_base_that_is_none_is_shown_as_such() -> None:
    assert "✗ It is not the base." in proof_html(BaseProof(1, ("adapter0",), 0.0, 10, 0.1))
    assert "✗ It is not the base." in proof_html(BaseProof(0, (), 1e-6, 10, 0.1))
    assert "✓ It is the base." in proof_html(BaseProof(2, (), 0.0, 10, 0.1))


def test_a_merge_that_changes_the_answer_says_so() -> None:
    report = MergeReport(200_000, 8_500_000, 150.0, 180.0, 1.2e-5, 0.03, 12.5, False, 20, "float32", 1.0)
    html = merge_html(report, "<b>")
    assert "do not write the same 20 tokens" in html and "200 kB" in html and "8.5 MB" in html and "<b>" not in html


def test_the_road_shows_the_pairs_own_row_under_its_stage() -> None:
    html = road_html(road(), {"sft": OwnStage("9,000 conversations", "61 s", "93 % right.")})
    assert html.index("+ SFT") < html.index("9,000 conversations") < html.index("+ RLHF or DPO")
    assert "15T tokens" in html and "12,725" in html
