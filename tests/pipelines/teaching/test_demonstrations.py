"""Each demonstration, really run on the pocket pair."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.finetune import FinetuneService
from pipelines.models import ModelManager
from pipelines.settings import Settings
from pipelines.stages import STAGES
from pipelines.teaching.beats import beat_at
from pipelines.teaching.demonstrations import demonstrate, demonstrating
from pipelines.teaching.places import Place
from pipelines.teaching.records import Demonstration


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(device="cpu", runs_dir=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def manager(settings: Settings) -> ModelManager:
    return ModelManager(settings)


def true_choice(shown: Demonstration) -> str:
    assert shown.outcome is not None
    return beat_at(Place(shown.stage, "predict")).choices[shown.outcome]


def test_the_base_asks_on_the_instruct_model_answers_and_the_base_knew(manager: ModelManager) -> None:
    *before, shown = demonstrating("problem", manager)
    base, tuned, cloze = shown.answers
    assert "What is the capital of" in base.text and "Paris" not in base.text
    assert tuned.text == "The capital of France is Paris." and tuned.stopped
    assert cloze.text.startswith(" Paris") and "98.8%" in cloze.note
    assert true_choice(shown) == "More questions"
    assert shown.done and not shown.limits
    # It grows: first the base alone, then its neighbours.
    assert [len(one.answers) for one in before] == sorted(len(one.answers) for one in before)
    assert len(before[0].answers) == 1 and not before[0].done


def test_the_mask_lights_the_answer_and_the_mark_that_ends_it(manager: ModelManager) -> None:
    shown = demonstrate("sft", manager)
    lit = "".join(token.text for token in shown.tokens if token.supervised)
    assert lit == "The capital of France is Paris.<|end|>"
    assert "mark that ends it" in true_choice(shown)
    assert shown.figures[0].value == "8 of 19"
    base, tuned = (float(figure.value) for figure in shown.figures[1:])
    assert base > 1 > tuned


def test_the_checks_see_hardly_any_of_the_spoiled_rows(manager: ModelManager) -> None:
    shown = demonstrate("data", manager)
    assert true_choice(shown) == "Hardly any"
    faults = [row.fault.partition(":")[0] for row in shown.rows]
    assert sorted(faults) == [
        "a wrong answer", "another form than the other rows", "the token that ends the answer is missing"
    ]  # fmt: skip


def test_the_wrong_template_loses_the_answer(manager: ModelManager) -> None:
    shown = demonstrate("templates", manager)
    own, other, bare = shown.answers
    assert own.text == "The capital of France is Paris." and own.given.startswith("<|bos|><|user|>")
    assert other.given.startswith("<|im_start|>user") and not other.right
    assert not bare.right
    assert true_choice(shown) == "It says something else"


def test_only_qlora_fits_and_nf4_loses_least(manager: ModelManager) -> None:
    shown = demonstrate("qlora", manager)
    assert true_choice(shown) == "With QLoRA"
    assert [bar.shown for bar in shown.bars[0].bars] == ["528 GiB", "141 GiB", "45 GiB"]
    errors = [float(figure.value.rstrip("%")) for figure in shown.figures]
    assert errors[0] == min(errors)


def test_every_adapter_says_the_same_fact_in_its_own_way(manager: ModelManager) -> None:
    shown = demonstrate("base-vs-chat", manager)
    assert [one.title for one in shown.answers] == ["Base", "Instruct", "Coder", "Doctor", "Poet", "Shop assistant"]
    assert true_choice(shown) == "The same fact, in different words"
    assert len({one.text for one in shown.answers}) == 6


@pytest.mark.slow
def test_a_few_directions_keep_most_of_the_answers(manager: ModelManager) -> None:
    shown = demonstrate("lora", manager)
    assert true_choice(shown) == "About 0.1 %"
    assert "6,815,744" in shown.figures[0].label  # as PEFT counts it (tests/pipelines/test_lora_counting.py)
    none, two, four, whole = (bar.share for bar in shown.bars[0].bars)
    assert none < 0.1 < two < four <= whole + 0.05


@pytest.fixture
def runs(settings: Settings, manager: ModelManager) -> Iterator[FinetuneService]:
    service = FinetuneService(settings, manager)
    yield service
    service.close()


@pytest.mark.slow
def test_a_real_run_turns_the_answers_and_is_not_trained_twice(manager: ModelManager, runs: FinetuneService) -> None:
    shown = demonstrate("practice", manager, runs)
    assert true_choice(shown) == "Most of them"
    assert [one.title for one in shown.answers] == ["Before training", "After 20 steps", "After 40 steps"]
    assert not shown.answers[0].right and shown.answers[-1].right
    assert len(runs.list()) == 1
    again = demonstrate("practice", manager, runs)
    assert again.answers == shown.answers and "earlier" in again.conclusion
    assert len(runs.list()) == 1


def test_what_a_server_cannot_give_is_said_and_the_rest_is_shown(tmp_path: Path) -> None:
    """The server is not there at all: even then each demonstration ends, and says why."""
    away = ModelManager(Settings(endpoint="http://127.0.0.1:9/v1", runs_dir=tmp_path))
    shown = {stage.key: demonstrate(stage.key, away) for stage in STAGES}
    assert all(one.done for one in shown.values())
    assert [stage for stage, one in shown.items() if not one.limits] == ["data", "base-vs-chat"]
    assert "127.0.0.1:9" in shown["base-vs-chat"].answers[0].note
    assert "gives texts and no weights" in shown["practice"].limits[0]
    # What is counted from an architecture needs nobody, and the adapters that ship answer on this machine.
    assert true_choice(shown["lora"]) == "About 0.1 %"
    assert true_choice(shown["qlora"]) == "With QLoRA"
