"""Stage 4: the template that a model was tuned with, against others and against none.

The same held-out questions in every rendering, one greedy answer each. A wrong template is written as the catalogue
has it; its control strings are ordinary text to this model, unless they happen to be its own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from pipelines.experiments.arms import run_arms
from pipelines.experiments.bench import Bench, Probe, judged
from pipelines.experiments.records import Arm, Claim, Outcome, Progress
from pipelines.experiments.statistics import difference, level, share_arm
from pipelines.finetune.evaluate import Answer, is_right
from pipelines.messages import Message
from pipelines.templates import get_template, render

FACTS = 100
WRONG = ("chatml", "llama2", "mistral-v0.3", "alpaca", "vicuna", "zephyr")
_GAP, _RIGHT = 0.3, 0.5

CLAIM = Claim(
    stage="templates",
    claim="A model answers in the template that it was tuned with; in another it garbles, or never stops.",
    source="The chapter, section 4; transformers’ guide to chat templates. Neither gives a number",
    claimed="right template: answers; wrong one: garbles",
    hypothesis=(
        "The instruct model answers held-out questions in its own template, and fewer of the same questions in each of "
        f"{len(WRONG)} others and without any."
    ),
    rule=(
        f"Holds if more than {_RIGHT:.0%} are right in its own template, and at least {100 * _GAP:.0f} points fewer in "
        "every other rendering, each with its whole 95 % interval. One wrong template that does as well is enough for "
        "“does not hold”."
    ),
    budget=20.0,
)


def measure(bench: Bench) -> Generator[Progress, None, Outcome]:
    """Ask in every rendering; compare question by question."""
    own = bench.questions(bench.heldout(FACTS))
    renderings: dict[str, Sequence[Probe]] = {"its own": own}
    for key in WRONG:
        renderings[key] = [written(bench, probe, key) for probe in own]
    renderings["none"] = [bench.raw(probe.text, probe.answer) for probe in own]
    controls = control_strings(bench)

    def asked(probes: Sequence[Probe]) -> Callable[[Bench], list[Answer]]:
        return lambda bench: bench.answers(bench.model("instruct"), probes, verbatim=True)

    def arm(name: str, answers: Sequence[Answer]) -> Arm:
        stopped = sum(answer.stopped for answer in answers) / len(own)
        controlled = sum(any(control in answer.text for control in controls) for answer in answers) / len(own)
        note = f"stops by itself {stopped:.0%}, control strings in the answer {controlled:.0%}"
        return share_arm(f"template: {name}", judged(answers, own), note)

    said = yield from run_arms(
        bench,
        {name: asked(probes) for name, probes in renderings.items()},
        steps=0,
        says="the instruct model is asked in each template",
        drawn=lambda done: tuple(arm(name, done[name]) for name in renderings if name in done),
    )
    right = {name: judged(answers, own) for name, answers in said.items()}
    arms = [arm(name, answers) for name, answers in said.items()]
    others = [name for name in renderings if name != "its own"]
    best = max(others, key=lambda name: sum(right[name]))
    return Outcome(
        measured=(
            f"{arms[0].value:.0%} right in its own, {sum(right[best]) / len(own):.0%} in the best other one ({best})"
        ),
        arms=tuple(arms),
        conditions=(
            level("right in its own template", right["its own"], "at least", _RIGHT),
            *(difference(f"its own before {name}", right["its own"], right[name], "at least", _GAP) for name in others),
        ),
        figures=(
            ("questions, the same in each rendering", f"{len(own)}"),
            ("for example, in " + best, _example(said, own, best)),
        ),
        remarks=(
            "zephyr writes the same headers as this pair’s own template, <|user|> and <|assistant|>; the line break "
            "after each of them and another end of the turn are enough to lose the answer.",
            "A larger model has read texts in many templates and forgives more; this one has read one.",
        ),
    )


def written(bench: Bench, probe: Probe, template: str) -> Probe:
    """The same question as another template of the catalogue writes it, as this model's tokenizer reads that."""
    text = render((Message("user", probe.text),), get_template(template), add_generation_prompt=True).text
    ids = bench.tokenizer(text, add_special_tokens=False)["input_ids"]
    begin = bench.tokenizer.bos_token_id
    # A missing first token would be another experiment: every text that this model has read begins with it.
    if begin is not None and ids[:1] != [begin]:
        ids = [begin, *ids]
    return Probe(probe.text, probe.answer, tuple(ids))


def control_strings(bench: Bench) -> tuple[str, ...]:
    """The strings that end turns and open them, of the model and of the wrong templates."""
    listed = {text for key in WRONG for text in get_template(key).special_tokens.values()}
    listed |= set(bench.tokenizer.all_special_tokens) | {
        "<|im_start|>",
        "<|im_end|>",
        "[INST]",
        "###",
        "USER:",
        "ASSISTANT:",
    }
    return tuple(sorted(text for text in listed if text))


def _example(said: dict[str, list[Answer]], own: Sequence[Probe], name: str) -> str:
    """A wrong answer there, where there is one."""
    for answer, probe in zip(said[name], own, strict=True):
        if not is_right(answer, [probe.answer]):
            return f"{probe.text} {answer.text[:80]}"
    return "every answer is right"
