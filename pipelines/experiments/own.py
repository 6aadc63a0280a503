"""A claim of your own: two arms of typed settings, one measure, and "A is better than B" as the rule.

    from pipelines.experiments import run
    from pipelines.experiments.own import Setting, claim_key
    run(claim_key(Setting(r=1), Setting(r=32), "accuracy"))

Such a claim is named by its key, a query that holds what is not default, so it is queued, kept and repeated outside the
studio like any other: `python -m pipelines.experiments 'own?measure=accuracy&a.r=1&b.r=32'`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import exp
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode

from pipelines.errors import InputError, unknown
from pipelines.experiments.arms import run_arms
from pipelines.experiments.bench import Bench, Recipe, judged
from pipelines.experiments.data import spoiled
from pipelines.experiments.records import Arm, Claim, Outcome, Progress, Sense
from pipelines.experiments.sft import user_turns
from pipelines.experiments.statistics import difference, mean_of, share_arm
from pipelines.experiments.templates import WRONG
from pipelines.labels import TrainOn
from pipelines.templates import get_template

OWN = "own"
FACTS = 120
BATCH = 16
OWN_TEMPLATE = "its own"


@dataclass(frozen=True, slots=True)
class Setting:
    """How one arm is trained. Fields are named as everywhere; `noise`: share of rows with a fault (`data.spoiled`)."""

    method: str = "lora"
    r: int = 8
    learning_rate: float = 0.0035
    steps: int = 40
    rows: int = 640
    train_on: str = "assistant"
    template: str = OWN_TEMPLATE
    noise: float = 0.0


@dataclass(frozen=True, slots=True)
class Measure:
    """What is compared: its name for people, and whether more of it is better."""

    title: str
    more: bool = True


MEASURES = {
    "accuracy": Measure("held-out questions answered rightly"),
    "stops": Measure("answers that end by themselves"),
    "user-turns": Measure("samples in which it writes a user’s turn", more=False),
    "cloze": Measure("held-out sentences completed"),
    "loss": Measure("loss of held-out answers", more=False),
}
CHOICES: dict[str, tuple[str, ...]] = {
    "method": ("lora", "full"),
    "train_on": ("assistant", "everything"),
    "template": (OWN_TEMPLATE, *WRONG),
}
RANGES: dict[str, tuple[float, float]] = {
    "r": (1, 64),
    "learning_rate": (1e-6, 0.1),
    "steps": (1, 100),
    "rows": (1, 1600),
    "noise": (0.0, 1.0),
}
_DEFAULT = Setting()
_ARMS = ("a", "b")


def claim_key(first: Setting, second: Setting, measure: str) -> str:
    """The key of “first is better than second”. Raises InputError for a value that cannot be."""
    _check(measure, first, second)
    pairs = [("measure", measure)]
    for arm, setting in zip(_ARMS, (first, second), strict=True):
        for field in fields(Setting):
            value = getattr(setting, field.name)
            if value != getattr(_DEFAULT, field.name):
                pairs.append((f"{arm}.{field.name}", f"{value:g}" if isinstance(value, float) else str(value)))
    return f"{OWN}?{urlencode(pairs)}"


def read_key(key: str) -> tuple[Setting, Setting, str]:
    """What `claim_key` wrote, or somebody typed. Raises InputError."""
    measure, given = "accuracy", {arm: dict[str, Any]() for arm in _ARMS}
    for name, text in parse_qsl(key.removeprefix(f"{OWN}?")):
        arm, _, field = name.partition(".")
        if name == "measure":
            measure = text
        elif arm not in _ARMS or field not in Setting.__slots__:
            names = [f"{arm}.{field}" for arm in _ARMS for field in Setting.__slots__]
            raise unknown(name, ["measure", *names], "claim")
        else:
            given[arm][field] = _typed(field, text)
    first, second = (Setting(**given[arm]) for arm in _ARMS)
    _check(measure, first, second)
    return first, second, measure


def own_claim(key: str) -> Claim:
    """The claim of that key, stated before it runs. Raises InputError."""
    first, second, measure = read_key(key)
    title, more = MEASURES[measure].title, MEASURES[measure].more
    return Claim(
        stage=claim_key(first, second, measure),
        claim=f"A ({said(first, second)}) is better than B ({said(second, first)}): {'more' if more else 'less'} "
        f"{title}.",
        source="Your own claim",
        claimed="A better than B",
        hypothesis=f"{'More' if more else 'Less'} {title} with A than with B, with equal questions and seed.",
        rule=(
            f"Holds if A minus B is {'above' if more else 'below'} zero with its whole 95 % interval, over the same "
            "questions; does not hold if it is on the other side; otherwise not decided."
        ),
        budget=60.0,
    )


def measured_by(key: str) -> Callable[[Bench], Generator[Progress, None, Outcome]]:
    """What measures the claim of that key. Raises InputError."""
    first, second, measure = read_key(key)
    title = MEASURES[measure].title

    def run(bench: Bench) -> Generator[Progress, None, Outcome]:
        tasks = {"A": _trained(first, measure), "B": _trained(second, measure)}

        def drawn(done: Mapping[str, list[float]]) -> tuple[Arm, ...]:
            settings = {"A": said(first, second), "B": said(second, first)}
            return tuple(_arm(f"{name}: {settings[name]}", values, measure) for name, values in done.items())

        done = yield from run_arms(
            bench, tasks, steps=first.steps + second.steps, says="training and asking both arms", drawn=drawn
        )
        sense: Sense = "at least" if MEASURES[measure].more else "at most"
        shown = {name: _shown(sum(values) / len(values), measure) for name, values in done.items()}
        return Outcome(
            measured=f"A {shown['A']}, B {shown['B']}",
            arms=drawn({name: done[name] for name in tasks}),
            conditions=(difference(f"{title}, A minus B", done["A"], done["B"], sense, 0.0),),
            axis="probability of a token of held-out answers, e to minus the loss" if measure == "loss" else title,
            remarks=("One training of each arm with one seed. Another seed is another sample: try some.",),
        )

    return run


def said(setting: Setting, other: Setting) -> str:
    """In words, what is not as in the other arm; of equal ones, that they are."""
    names = [field.name for field in fields(Setting) if getattr(setting, field.name) != getattr(other, field.name)]
    return ", ".join(f"{name} {_number(getattr(setting, name))}" for name in names) or "the same settings"


def _trained(setting: Setting, measure: str) -> Callable[[Bench], list[float]]:
    def arm(bench: Bench) -> list[float]:
        if setting.template != OWN_TEMPLATE:
            bench = copy.copy(bench)
            bench.template = get_template(setting.template)
        facts = bench.taught(setting.rows)
        if setting.noise:
            rows = spoiled(bench, facts, setting.noise)
        else:
            rows = [bench.example(talk, cast(TrainOn, setting.train_on)) for talk in bench.conversations(facts)]
        recipe = Recipe(
            setting.learning_rate, setting.steps, BATCH, "full" if setting.method == "full" else "lora", setting.r
        )
        return _values(bench, bench.train(bench.model("base"), rows, recipe), measure)

    return arm


def _values(bench: Bench, model: Any, measure: str) -> list[float]:
    """The measure, sample by sample."""
    facts = bench.heldout(FACTS)
    if measure == "cloze":
        return [float(one) for one in bench.completes(model, facts)]
    if measure == "loss":
        return bench.losses(model, [bench.example(talk) for talk in bench.conversations(facts)])
    if measure == "user-turns":
        return [float(one) for one in user_turns(bench, model)]
    probes = bench.questions(facts)
    answers = bench.answers(model, probes)
    found: Sequence[bool] = judged(answers, probes) if measure == "accuracy" else [answer.stopped for answer in answers]
    return [float(one) for one in found]


def _arm(name: str, values: Sequence[float], measure: str) -> Arm:
    if measure != "loss":
        return share_arm(name, [bool(value) for value in values])
    value, low, high = mean_of([exp(-value) for value in values])
    return Arm(name, value, low, high, len(values), f"loss {_shown(sum(values) / len(values), measure)}")


def _shown(value: float, measure: str) -> str:
    return f"{value:.3f}" if measure == "loss" else f"{value:.0%}"


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _typed(field: str, text: str) -> Any:
    if field in CHOICES:
        return text
    try:
        return float(text) if isinstance(getattr(_DEFAULT, field), float) else int(text)
    except ValueError:
        raise InputError(f"'{text[:40]}' is no number", field, _range(field)) from None


def _check(measure: str, *settings: Setting) -> None:
    if measure not in MEASURES:
        raise unknown(measure, MEASURES, "measure")
    for setting in settings:
        for name, allowed in CHOICES.items():
            if getattr(setting, name) not in allowed:
                raise unknown(str(getattr(setting, name)), allowed, name)
        for name, (low, high) in RANGES.items():
            if not low <= getattr(setting, name) <= high:
                raise InputError(f"{getattr(setting, name)} is not possible", name, _range(name))
        if setting.noise and setting.train_on != "assistant":
            raise InputError("noisy rows are trained on their answers only", "noise", "Use train_on assistant, or 0.")


def _range(field: str) -> str:
    return "Use a number from {:g} to {:g}.".format(*RANGES[field])
