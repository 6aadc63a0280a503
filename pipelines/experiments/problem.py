"""Stage 1: the base model knows the answer and does not give it.

Three questions about the same held-out facts: the base is given the beginning of a sentence (a cloze), the base is
given the bare question, the instruct model is given the question. Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Generator

from pipelines.experiments.bench import Bench
from pipelines.experiments.records import Arm, Claim, Outcome, Progress, exactly
from pipelines.experiments.statistics import difference, differs, level, share_arm
from pipelines.finetune.evaluate import is_right
from pipelines.pocket.evaluation import reply_kind

FACTS = 240
BATCH = 60
_GAP = 0.3
_P = 0.001
_ASKING_TOKENS = 40  # enough for a question to be recognised, or for an answer in a sentence

CLAIM = Claim(
    stage="problem",
    claim="A pretrained model has the knowledge and lacks the format: asked a question, it asks on instead.",
    source="The chapter, section 1; Ouyang et al. 2022, where people preferred a tuned 1.3B model to the base of 175B",
    claimed="knows, does not answer; the tuned model answers",
    hypothesis=(
        "On facts about entities that fine-tuning never mentioned, the base completes sentences but answers few "
        "bare questions, and the instruct model answers them."
    ),
    rule=(
        f"Holds if the base completes at least {100 * _GAP:.0f} points more than it answers, if it asks on in more "
        f"than half of the cases, if the instruct model answers at least {100 * _GAP:.0f} points more than the base, "
        f"each with its whole 95 % interval, and if a permutation test of instruct against base gives p below {_P}."
    ),
    budget=20.0,
)


def measure(bench: Bench) -> Generator[Progress, None, Outcome]:
    """Ask, and compare fact by fact."""
    facts = bench.heldout(FACTS)
    questions = bench.questions(facts)
    bare = [bench.raw(question.text, question.answer) for question in questions]

    base = bench.model("base")
    knows: list[bool] = []
    kinds: list[str] = []
    answers: list[bool] = []
    arms: list[Arm] = []
    for at in range(0, FACTS, BATCH):
        yield Progress(0.05 + 0.25 * at / FACTS, "the base completes sentences", tuple(arms))
        knows += bench.completes(base, facts[at : at + BATCH])
    arms.append(share_arm("base, beginning of a sentence: completes it", knows))
    for at in range(0, FACTS, BATCH):
        yield Progress(0.3 + 0.4 * at / FACTS, "the base is asked", tuple(arms))
        part = bare[at : at + BATCH]
        said = bench.answers(base, part, _ASKING_TOKENS)
        kinds += [reply_kind(answer.text, probe.answer) for answer, probe in zip(said, part, strict=True)]
    answered, asked = [kind == "answers" for kind in kinds], [kind == "asks on" for kind in kinds]
    arms += [
        share_arm("base, bare question: answers", answered),
        share_arm("base, bare question: asks on", asked),
        share_arm("base, bare question: something else", [kind == "other" for kind in kinds]),
    ]
    instruct = bench.model("instruct")
    for at in range(0, FACTS, BATCH):
        yield Progress(0.7 + 0.3 * at / FACTS, "the instruct model is asked", tuple(arms))
        part = questions[at : at + BATCH]
        said = bench.answers(instruct, part)
        answers += [is_right(answer, [probe.answer]) for answer, probe in zip(said, part, strict=True)]
    arms.append(share_arm("instruct, question: answers", answers))

    p = differs(answers, answered)
    return Outcome(
        measured=(
            f"completes {arms[0].value:.0%}, answers {arms[1].value:.0%}, asks on {arms[2].value:.0%}; "
            f"the instruct model answers {arms[-1].value:.0%}"
        ),
        arms=tuple(arms),
        conditions=(
            difference("completes more than it answers", knows, answered, "at least", _GAP),
            level("asks on", asked, "at least", 0.5),
            difference("instruct answers more than the base", answers, answered, "at least", _GAP),
            exactly("p that the two answer alike (permutation test)", p, "at most", _P),
        ),
        axis="share of facts",
        figures=(
            ("facts asked about", f"{len(facts)}"),
            (
                "known to the base and not answered by it",
                f"{sum(know and not answer for know, answer in zip(knows, answered, strict=True))}",
            ),
        ),
        remarks=(
            "Shown at 175 billion parameters; here with 4 million, on a corpus in which a text that begins with a "
            "question is always a quiz sheet. A base that has read pages of questions with answers does answer some.",
        ),
    )
