"""What the drawings show is what the pipelines say: nothing is counted twice, and nothing is invented."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from pipelines.completion import Sampling, chat, complete
from pipelines.data.catalogue import get_dataset
from pipelines.errors import InputError
from pipelines.lora import LoraSetup, count
from pipelines.loss_mask import loss_mask, template_for
from pipelines.memory.estimate import estimate
from pipelines.memory.gpus import gpus
from pipelines.memory.setup import MemorySetup
from pipelines.messages import Message
from pipelines.models import ModelManager
from pipelines.road import own_road, road
from pipelines.running_example import QUESTION, SENTENCE
from pipelines.settings import Settings
from pipelines.stages import STAGES
from pipelines.teaching import figures_of_text
from pipelines.teaching.figures import figures
from pipelines.teaching.figures_of_size import SHOWN_LOOKS, turning
from pipelines.teaching.recorded_run import RECORD, SETTINGS, recorded_run


@pytest.fixture(scope="module")
def manager(tmp_path_factory):
    """The shipped pair, as the studio has it."""
    found = ModelManager(Settings(runs_dir=tmp_path_factory.mktemp("runs"), device="cpu"))
    found.preload(("base", "instruct")).join()
    return found


def test_the_quiz_is_what_both_models_write(manager):
    drawn = figures("problem", manager)
    *_, base = complete(manager, QUESTION, "base", Sampling(64))
    *_, instruct = chat(manager, [Message("user", QUESTION)], "instruct", Sampling(64))
    assert drawn.continued == base.text and drawn.base_tokens == base.new_tokens and not drawn.base_ended
    assert drawn.answer == instruct.text == "The capital of France is Paris." and drawn.instruct_ended
    assert drawn.asked_on == base.text.count("?") >= 5


def test_the_masks_losses_are_those_of_both_models(manager):
    drawn = figures("sft", manager)
    conversation = [Message("user", QUESTION), Message("assistant", SENTENCE)]
    template = template_for(manager, "", "instruct")
    before = loss_mask(manager, conversation, template, "base")
    after = loss_mask(manager, conversation, template, "instruct")
    assert drawn.tokens == before.tokens and drawn.supervised == before.supervised
    assert (drawn.before, drawn.before_all) == (before.loss_supervised, before.loss_all)
    assert drawn.after == after.loss_supervised and drawn.after < drawn.before / 100


def test_the_circles_are_the_chapters_sets_with_the_catalogues_counts(manager):
    drawn = {circle.title: circle for circle in figures("data", manager).circles}
    assert len(drawn) == 10
    assert drawn["LIMA"].rows == get_dataset("lima").count == 1030 and not drawn["LIMA"].said
    assert drawn["FLAN v2"].rows == 15_000_000 and drawn["FLAN v2"].said == "15M+"


def test_the_screenplay_is_the_rendering_in_pieces(manager):
    drawn = figures("templates", manager)
    assert drawn.text.startswith("<|bos|><|system|>You are a pirate.<|end|>")
    assert drawn.text.endswith("<|user|>Who wrote Hamlet?<|end|><|assistant|>")
    spoken = [line for line in drawn.lines if not line.control]
    assert [line.role for line in spoken] == ["system", "user", "assistant", "user"]
    *_, answer = chat(manager, [Message("system", "You are a pirate."), Message("user", QUESTION)])
    assert drawn.answered and spoken[2].text == answer.text


def test_a_template_that_refuses_a_system_prompt_has_none(manager, monkeypatch):
    from pipelines.templates import get_template

    monkeypatch.setattr(figures_of_text, "template_for", lambda *_: get_template("mistral-v0.1"))
    drawn = figures_of_text.screenplay(manager)
    assert "refuses a system prompt" in drawn.note and drawn.text.startswith("<s>[INST]")


def test_the_matrices_are_the_chapters_and_the_pairs_count_is_peft_s(manager):
    from pipelines.architecture import architecture

    drawn = figures("lora", manager)
    counted = count(architecture("pocket"), LoraSetup(r=16))
    assert (drawn.whole, drawn.thin, drawn.times) == (16_777_216, 65_536, 128)
    assert (drawn.pair_trainable, drawn.pair_percent) == (counted.trainable, counted.percent)


def test_the_stacks_are_the_estimates_and_the_gpus_the_table_s(manager):
    drawn = figures("qlora", manager)
    for stack, method in zip(drawn.stacks, ("full", "lora", "qlora"), strict=True):
        assert stack.estimate == estimate(MemorySetup("llama-3.1-70b", method=method))
        if stack.smallest:
            assert stack.estimate.total <= stack.smallest.gib * 2**30
    assert drawn.stacks[0].smallest is None and drawn.stacks[0].count == 16
    assert set(drawn.gpus) < set(gpus())


def test_the_curve_is_the_recorded_run_and_shows_where_the_answers_turn(manager):
    drawn = figures("practice", manager)
    assert drawn.run == recorded_run()
    assert drawn.shown[0].accuracy == 0 and drawn.shown[-1].accuracy > 0.9
    texts = [look.answers[drawn.prompt] for look in drawn.shown]
    assert len(texts) <= SHOWN_LOOKS and "?" in texts[0] and texts[-1] == "The capital of France is Paris."


def test_a_run_whose_answers_never_change_shows_its_ends():
    run = recorded_run()
    same = replace(run, looks=tuple(replace(look, answers={"a": "b"}) for look in run.looks))
    assert turning(same, "a") == (same.looks[0], same.looks[-1])


def test_the_record_is_of_the_run_that_the_recipe_makes():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert record["steps"] == SETTINGS["max_steps"] and record["questions"] == SETTINGS["eval_rows"]
    assert [look["step"] for look in record["looks"]] == list(range(0, 81, SETTINGS["eval_steps"]))
    assert all(list(look["answers"]) == SETTINGS["prompts"] for look in record["looks"])


def test_the_road_is_the_chapters_with_the_pairs_own(manager):
    drawn = figures("base-vs-chat", manager)
    own = own_road()
    assert drawn.running and drawn.stages == tuple((stage, own[stage.key]) for stage in road())
    assert [stage.dollars for stage, _ in drawn.stages] == [60e6, 1000, 10_000]


def test_every_stage_is_quick_and_kept(manager):
    for stage in STAGES:
        begin = time.perf_counter()
        first = figures(stage.key, manager)
        assert time.perf_counter() - begin < 1.0, stage.key
        assert figures(stage.key, manager) is first


def test_a_stage_that_is_none_is_refused(manager):
    with pytest.raises(InputError, match="Did you mean 'lora'"):
        figures("lorra", manager)


def test_a_pair_without_weights_here_keeps_its_mask_and_says_what_is_missing(manager, monkeypatch):
    monkeypatch.setattr(ModelManager, "no_weights", lambda self, name: "Far base is answered by a server")
    drawn = figures_of_text.mask(manager)
    assert drawn.supervised == 8 and all(token.loss is None for token in drawn.tokens)
    assert drawn.before is None and drawn.missing == "No losses: Far base is answered by a server."
