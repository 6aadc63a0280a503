"""No verdict can be had with a broken arm: each is broken on purpose, and the verdict turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any, Literal

import pytest

from pipelines.data.lesson import Preference
from pipelines.experiments import base_vs_chat, data, lora, practice, qlora, sft, templates
from pipelines.experiments.bench import Bench, Example, Probe, Recipe, Row, Side
from pipelines.experiments.records import FAILS, HOLDS, Outcome
from pipelines.labels import TrainOn
from pipelines.messages import Message
from pipelines.pocket.facts import Fact
from tests.pipelines.experiments.conftest import outcome_of

pytestmark = pytest.mark.slow


def failed(outcome: Outcome) -> list[str]:
    """The parts of the rule that fail."""
    return [condition.says for condition in outcome.conditions if condition.verdict == FAILS]


class Unmoved(Bench):
    """Trains with a learning rate of zero."""

    def train(self, model: Any, examples: Sequence[Row], recipe: Recipe, **more: Any) -> Any:
        return super().train(model, examples, replace(recipe, learning_rate=0.0), **more)


@pytest.mark.parametrize(
    "module, part",
    [
        (sft, "masked learned to answer"),
        (data, "64 curated learned"),
        (lora, "r = 8 learned"),
        (qlora, "NF4 learned"),
        (practice, "held-out answers, after minus before"),
        (base_vs_chat, "pirate answers in its own way"),
        (base_vs_chat, "pairs won, after DPO minus before"),
    ],
)
def test_what_is_not_trained_proves_nothing(module: ModuleType, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEPS", 2)
    monkeypatch.setattr(module, "FACTS", 24)
    outcome = outcome_of(module.CLAIM.stage, Unmoved(seed=3))
    assert outcome.verdict == FAILS
    assert part in failed(outcome)


class OneRankUnmoved(Bench):
    """Only the adapter of rank 8 is broken."""

    def train(self, model: Any, examples: Sequence[Row], recipe: Recipe, **more: Any) -> Any:
        broken = recipe.method == "lora" and recipe.r == lora.FEW
        return super().train(model, examples, replace(recipe, learning_rate=0.0) if broken else recipe, **more)


def test_one_dead_rank_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora, "RATES", {rank: lora.RATES[rank] for rank in (1, lora.FEW, lora.MANY)})
    monkeypatch.setattr(lora, "FACTS", 60)
    outcome = outcome_of("lora", OneRankUnmoved(seed=3))
    assert failed(outcome) == ["r = 8 learned", "r = 8 minus full", "r = 8 minus r = 32"]


class MaskOff(Bench):
    """Both arms see every token."""

    def example(self, messages: Sequence[Message], train_on: TrainOn = "assistant") -> Example:
        whole = super().example(messages, "everything")
        # As it is where the loss on the user's tokens is measured, which needs to know them.
        return whole if len(messages) == 2 and self.masks_off else super().example(messages, train_on)

    masks_off = True

    def right(self, model: Any, probes: Sequence[Probe], max_new_tokens: int = 24) -> list[bool]:
        self.masks_off = False
        return super().right(model, probes, max_new_tokens)


class OtherLoss(Bench):
    """The loss is not the library's, by a hair."""

    def loss(self, model: Any, batch: Sequence[Example]) -> Any:
        return super().loss(model, batch) * 1.00001


def test_an_arm_whose_mask_is_off_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sft, "REPETITIONS", 1)
    monkeypatch.setattr(sft, "FACTS", 24)
    assert "unmasked minus masked, user turns" in failed(outcome_of("sft", MaskOff(seed=3)))


def test_a_loss_that_is_not_the_librarys_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sft, "STEPS", 2)
    monkeypatch.setattr(sft, "REPETITIONS", 1)
    monkeypatch.setattr(sft, "FACTS", 24)
    part = "this loss minus the library’s, largest of both arms"
    assert part in failed(outcome_of("sft", OtherLoss(seed=3)))
    assert part not in failed(outcome_of("sft", Bench(seed=3)))


class WrongOwnTemplate(Bench):
    """What is called the model's own template is another one."""

    def questions(self, facts: Sequence[Fact]) -> list[Probe]:
        return [templates.written(self, probe, "chatml") for probe in super().questions(facts)]


def test_a_wrong_template_in_the_place_of_the_right_one_is_found() -> None:
    outcome = outcome_of("templates", WrongOwnTemplate(seed=3, trains=False))
    assert outcome.verdict == FAILS
    assert "right in its own template" in failed(outcome)


class Shuffled(Bench):
    """Every question is judged by another one's answer."""

    def questions(self, facts: Sequence[Fact]) -> list[Probe]:
        probes = super().questions(facts)
        answers = [probe.answer for probe in probes[7:] + probes[:7]]
        return [Probe(probe.text, answer, probe.ids) for probe, answer in zip(probes, answers, strict=True)]


@pytest.mark.parametrize("bench, verdict", [(Bench, HOLDS), (Shuffled, FAILS)])
def test_unlocking_holds_and_does_not_with_shuffled_answers(bench: type[Bench], verdict: str) -> None:
    assert outcome_of("practice", bench(seed=3)).verdict == verdict


class Leaking(Bench):
    """The invented facts were read before: the base already is the model that was trained on everything invented."""

    def train(self, model: Any, examples: Sequence[Row], recipe: Recipe, **more: Any) -> Any:
        made = practice.invented(self, 2 * practice.INVENTED)
        leaked = [self.example(talk) for talk in self.conversations(made * 8)]
        return super().train(model, [*examples, *leaked], replace(recipe, steps=2 * recipe.steps), **more)


def test_invented_facts_that_leaked_into_training_are_found() -> None:
    assert "invented: the other half" in failed(outcome_of("practice", Leaking(seed=3)))


class NotQuantized(Bench):
    """The base that is called NF4 is in bf16."""

    def quantized(self, side: Side) -> Any:
        return self.model(side, "bfloat16")


def test_a_base_that_is_not_quantized_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qlora, "STEPS", 2)
    monkeypatch.setattr(qlora, "FACTS", 24)
    assert "bytes of the linear layers, NF4 over bf16" in failed(outcome_of("qlora", NotQuantized(seed=3)))


class Swapped(Bench):
    """Two adapters have each other's weights."""

    def attach(self, adapters: Any, recipe: Recipe) -> Any:
        return super().attach({**adapters, "pirate": adapters["robot"], "robot": adapters["pirate"]}, recipe)


def test_adapters_in_each_others_place_are_found() -> None:
    outcome = outcome_of("base-vs-chat", Swapped(seed=3))
    assert failed(outcome) == ["pirate answers in its own way", "robot answers in its own way"]


class PreferringTheWorse(Bench):
    """The training pairs have their answers in each other's place."""

    def preferences(self, split: Literal["train", "heldout"], count: int | None = None) -> list[Preference]:
        pairs = super().preferences(split, count)
        swapped = [replace(pair, chosen=pair.rejected, rejected=pair.chosen) for pair in pairs]
        return swapped if split == "train" else pairs


def test_preferences_the_wrong_way_round_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_vs_chat, "STEPS", 2)
    monkeypatch.setattr(base_vs_chat, "FACTS", 24)
    outcome = outcome_of("base-vs-chat", PreferringTheWorse(seed=3))
    assert {"held-out pairs won after DPO", "pairs won, after DPO minus before"} <= set(failed(outcome))
