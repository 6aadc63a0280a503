"""The verdict turns when an arm is broken on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pipelines.experiments.bench import Bench, Probe, Side
from pipelines.experiments.records import FAILS, HOLDS
from pipelines.pocket.facts import Fact
from tests.pipelines.experiments.conftest import outcome_of

pytestmark = pytest.mark.slow


class Untuned(Bench):
    """Both models are the base."""

    def model(self, side: Side) -> Any:
        return super().model("base")


class Answering(Bench):
    """The base is the tuned one, and what it is given is in the template: it answers bare questions."""

    def model(self, side: Side) -> Any:
        return super().model("instruct")

    def raw(self, text: str, answer: str) -> Probe:
        return self.ask(text, answer)


class Shuffled(Bench):
    """Every question is judged by another one's answer."""

    def questions(self, facts: Sequence[Fact]) -> list[Probe]:
        probes = super().questions(facts)
        answers = [probe.answer for probe in probes[7:] + probes[:7]]
        return [Probe(probe.text, answer, probe.ids) for probe, answer in zip(probes, answers, strict=True)]


def test_the_base_knows_and_asks_on_and_the_instruct_model_answers() -> None:
    outcome = outcome_of("problem", Bench(seed=3, trains=False))
    assert outcome.verdict == HOLDS
    assert [arm.count for arm in outcome.arms] == [240] * 5


@pytest.mark.parametrize("broken", [Untuned, Answering, Shuffled])
def test_a_broken_arm_turns_the_verdict(broken: type[Bench]) -> None:
    assert outcome_of("problem", broken(seed=3, trains=False)).verdict == FAILS
