"""Stage 8: one base, several adapters; each answers in its own way, and swapping and merging change nothing else.

An adapter for each manner is trained without any system prompt, so that the manner can only come from the adapter. All
of them are then attached to one base. A rule says which manner an answer has; no judge, no model. Beside them the third
stage: DPO of the instruct model on the shipped preference pairs, judged by held-out ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.experiments.arms import run_arms
from pipelines.experiments.bench import Bench, Probe, Recipe
from pipelines.experiments.preferring import PREFERRING, preferred
from pipelines.experiments.records import Arm, Claim, Outcome, Progress, exactly
from pipelines.experiments.statistics import difference, level, share_arm
from pipelines.finetune.evaluate import normalise
from pipelines.messages import Message
from pipelines.pocket.facts import Fact
from pipelines.pocket.manners import personalities, suits_personality

FACTS = 80
STEPS = 40
RATE = 5e-3
MANNERS = ("full-sentence", "pirate", "robot", "poet")
_OWN = 0.8
_MERGED = 1e-3
_SWAP = 1.0  # seconds
_WON, _GAINED = 0.5, 0.2
_PREFERENCES = "preferences"

CLAIM = Claim(
    stage="base-vs-chat",
    claim="One base serves several behaviours: adapters swap without reloading it, and merging changes no answer. "
    "Preferences change it once more.",
    source="The chapter, section 8; Hu et al. 2021: no additional latency after merging, tasks switch by swapping BA; "
    "Rafailov et al. 2023 for DPO",
    claimed="same base, several behaviours; merged equals unmerged; after DPO the preferred answer wins",
    hypothesis=(
        f"{len(MANNERS)} adapters on one base each answer in their own way; switched off, the base is the base to the "
        f"bit; merged, the logits are the same up to rounding. After {PREFERRING.steps} steps of DPO on "
        "pairs of answers the instruct model finds the preferred answer of most held-out pairs likelier."
    ),
    rule=(
        f"Holds if each adapter answers in its own way in more than {_OWN:.0%} of the cases, with the whole 95 % "
        "interval, if without adapters no logit differs from a fresh base, if no logit of a merged model differs by "
        f"more than {_MERGED}, if a swap takes less than {_SWAP:.0f} second, and if after DPO the preferred "
        f"answer wins in more than {_WON:.0%} of the held-out pairs, and at least {100 * _GAINED:.0f} points more than "
        "before, with the whole 95 % interval."
    ),
    budget=60.0,
)

Weights = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Switched:
    """What was seen with all adapters on one base."""

    manners: Mapping[str, list[str]]  # of each adapter's answers
    holds: Mapping[str, list[bool]]  # whether the answer has the right fact, too
    swap: float  # seconds, the longest
    base: float  # largest difference of a logit, adapters off
    merged: float  # largest difference of a logit, over all adapters


def measure(bench: Bench) -> Generator[Progress, None, Outcome]:
    """Train an adapter for each manner; attach all to one base; ask, switch and merge."""
    # Preferences first: two forward passes with the reference make its steps the longest.
    tasks: dict[str, Callable[[Bench], Any]] = {_PREFERENCES: preferred}
    tasks |= {manner: _trained(manner) for manner in MANNERS}
    weights: dict[str, Any] = yield from run_arms(
        bench,
        tasks,
        steps=STEPS * len(MANNERS) + PREFERRING.steps,
        says="training adapters, and on preferences",
        span=(0.0, 0.7),
    )
    before, after = weights.pop(_PREFERENCES)
    pairs = f"{len(after)} held-out pairs"
    model = bench.attach(weights, Recipe(RATE, STEPS))
    probes = bench.questions([fact for fact in bench.heldout(2 * FACTS) if suits_personality(fact)][:FACTS])
    found: dict[str, list[str]] = {}
    holds: dict[str, list[bool]] = {}
    swap = 0.0
    arms: list[Arm] = [
        share_arm("before DPO: preferred answer likelier", before, pairs),
        share_arm("after DPO: preferred answer likelier", after, pairs),
    ]
    for number, manner in enumerate(MANNERS):
        yield Progress(
            0.7 + 0.25 * number / len(MANNERS), f"asking the one base with the adapter {manner}", tuple(arms)
        )
        began = time.perf_counter()
        model.set_adapter(manner)
        swap = max(swap, time.perf_counter() - began)
        answers = bench.answers(model, probes)
        found[manner] = [manner_of(answer.text) for answer in answers]
        holds[manner] = [_held(answer.text, probe) for answer, probe in zip(answers, probes, strict=True)]
        arms.append(share_arm(f"adapter {manner}: in its own way", [kind == manner for kind in found[manner]],
                              f"the right fact in {sum(holds[manner]) / len(probes):.0%}"))  # fmt: skip
    yield Progress(0.95, "switching off and merging", tuple(arms))
    seen = Switched(found, holds, swap, *_equal(bench, model, probes))
    size = sum(tensor.nbytes for tensor in weights[MANNERS[0]].values())
    return Outcome(
        measured=(
            f"own way in {min(arm.value for arm in arms[2:]):.0%} to {max(arm.value for arm in arms[2:]):.0%}; swap "
            f"{1000 * seen.swap:.1f} ms; merged logits differ by {seen.merged:.0e} at most; preferred answer wins in "
            f"{arms[0].value:.0%}, after DPO {arms[1].value:.0%}"
        ),
        arms=tuple(arms),
        conditions=(
            *(
                level(
                    f"{manner} answers in its own way",
                    [kind == manner for kind in seen.manners[manner]],
                    "at least",
                    _OWN,
                )
                for manner in MANNERS
            ),
            exactly("largest change of the base’s logits, adapters off", seen.base, "at most", 0.0),
            exactly("largest change of a logit by merging", seen.merged, "at most", _MERGED),
            exactly("seconds of a swap, the longest", seen.swap, "at most", _SWAP),
            level("held-out pairs won after DPO", after, "at least", _WON),
            difference("pairs won, after DPO minus before", after, before, "at least", _GAINED),
        ),
        axis="share of pairs won, and of answers in the adapter’s own way",
        figures=(
            ("bytes of one adapter", f"{size:,}"),
            ("bytes of the base", f"{bench.pair.base.parameters * 4:,}"),
        ),
        remarks=(
            "The manner is judged by its marks (“Arr”, “Beep.”, “Hear my song”); a full sentence has none of them. In "
            "float32 merging rounds in the seventh digit; in bf16 it would in the third.",
            "A pair is won by likelihood: nothing is generated, and nobody judges. A preferred answer is right, in a "
            f"sentence, and polite, which the instruct model never saw. DPO took {PREFERRING.steps} steps of "
            f"{PREFERRING.batch} pairs at {PREFERRING.learning_rate:g}; Practice takes twice as many by default.",
        ),
    )


def _trained(manner: str) -> Callable[[Bench], Weights]:
    def task(bench: Bench) -> Weights:
        from peft import get_peft_model_state_dict

        facts = [fact for fact in bench.taught(3 * STEPS * 16) if suits_personality(fact)][: STEPS * 16]
        rows = [bench.example(talk) for talk in told(bench, facts, manner)]
        model = bench.train(bench.model("base"), rows, Recipe(RATE, STEPS))
        return {name: tensor.detach().numpy() for name, tensor in get_peft_model_state_dict(model).items()}

    return task


def told(bench: Bench, facts: Sequence[Fact], manner: str) -> list[tuple[Message, ...]]:
    """Questions and answers in that manner, without a system prompt that asks for it."""
    draw = bench.draw(f"said as {manner}")
    ways = personalities()[manner]["says"]
    return [
        (asked, Message("assistant", draw.choice(ways).format(sentence=fact.sentence, a=fact.answer)))
        for fact, (asked, _) in zip(facts, bench.conversations(facts), strict=True)
    ]


def manner_of(text: str) -> str:
    """The manner whose marks all stand in the answer; a sentence without any marks is a full sentence."""
    for manner in MANNERS:
        marks = personalities()[manner]["marks"]
        if marks and all(mark in text for mark in marks):
            return manner
    marked = any(mark in text for one in personalities().values() for mark in one["marks"])
    return "full-sentence" if not marked and len(text.split()) > 2 and text.rstrip().endswith((".", "!")) else ""


def _held(text: str, probe: Probe) -> bool:
    return f" {normalise(probe.answer)} " in f" {normalise(text)} "


def _equal(bench: Bench, model: Any, probes: Sequence[Probe]) -> tuple[float, float]:
    """Largest difference of a logit: adapters off against a fresh base, and merged against unmerged."""
    import copy

    import torch

    ids = torch.tensor([list(probes[0].ids)])
    with torch.no_grad():
        fresh = bench.model("base")(input_ids=ids).logits
        with model.disable_adapter():
            off = float((model(input_ids=ids).logits - fresh).abs().max())
        merged = 0.0
        for manner in MANNERS:
            model.set_adapter(manner)
            apart = model(input_ids=ids).logits
            whole = copy.deepcopy(model).merge_and_unload(adapter_names=[manner])
            merged = max(merged, float((whole(input_ids=ids).logits - apart).abs().max()))
    return off, merged
