"""Stage 2: the loss on the assistant's tokens only, against the loss on everything.

Same rows, same steps, same seed in both arms; three repetitions with rows and questions of their own. Besides the held-
out answers, what each has learned to generate: handed the header of a user turn, does it write a question and end it?
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.experiments.arms import run_arms
from pipelines.experiments.bench import Bench, Recipe
from pipelines.experiments.records import Arm, Claim, Outcome, Progress, exactly
from pipelines.experiments.statistics import difference, mean_of, share_arm
from pipelines.labels import IGNORE_INDEX

REPETITIONS = 3
FACTS = 100
SAMPLES = 32
STEPS = 40
RATE = 5e-3
_LEARNED, _TURNS = 0.5, 0.3

CLAIM = Claim(
    stage="sft",
    claim="Trained on the assistant’s tokens only, a model answers better than trained on everything.",
    source="The chapter, section 2. TRL’s default trains on everything. Neither gives a number",
    claimed="the mask answers better; it does not learn to write the user’s turns",
    hypothesis=(
        "With equal rows and steps, the masked model answers more held-out questions, and only the unmasked one learns "
        "to write user turns."
    ),
    rule=(
        f"Holds if the masked model answers at least {100 * _LEARNED:.0f} points more than the base, if it answers "
        f"more than the unmasked one, if that writes user turns at least {100 * _TURNS:.0f} points more often, "
        "each with its whole 95 % interval, and if this loss is the library’s to 1e-6. Masked answers that are fewer "
        "mean “does not hold”; an interval around no difference, “not decided”."
    ),
    budget=60.0,
)


@dataclass(frozen=True, slots=True)
class Seen:
    """Of one trained model: held-out answers, user turns that it wrote, and its loss on the user's tokens."""

    right: list[bool]
    turns: list[bool]
    user_loss: list[float]


def measure(bench: Bench) -> Generator[Progress, None, Outcome]:
    """Train both arms three times, and ask."""
    tasks: dict[str, Callable[[Bench], Seen]] = {}
    for number in range(REPETITIONS):
        for arm in ("masked", "everything"):
            tasks[f"{arm} {number}"] = _trained(number, arm)
        tasks[f"before {number}"] = _trained(number, "before")

    def of(done: Mapping[str, Seen], arm: str, part: str) -> list[Any]:
        return [value for number in range(REPETITIONS) for value in getattr(done[f"{arm} {number}"], part)]

    def drawn(done: Mapping[str, Seen]) -> tuple[Arm, ...]:
        arms = []
        for part, saying in (("right", "answers right"), ("turns", "writes a user’s turn")):
            for arm, name in _NAMES.items():
                seen = [one for key, one in done.items() if key.startswith(arm)]
                if seen:
                    arms.append(share_arm(f"{name}: {saying}", [value for one in seen for value in getattr(one, part)]))
        return tuple(arms)

    done = yield from run_arms(
        bench, tasks, steps=2 * REPETITIONS * STEPS, says="training with and without the mask", drawn=drawn
    )
    masked, everything = of(done, "masked", "right"), of(done, "everything", "right")
    turns = [of(done, arm, "turns") for arm in ("everything", "masked")]
    losses = {arm: mean_of(of(done, arm, "user_loss")) for arm in _NAMES}
    return Outcome(
        measured=(
            f"right: masked {_share(masked)}, unmasked {_share(everything)}; user turns written: masked "
            f"{_share(turns[1])}, unmasked {_share(turns[0])}"
        ),
        arms=drawn(done),
        conditions=(
            difference("masked learned to answer", masked, of(done, "before", "right"), "at least", _LEARNED),
            difference("masked minus unmasked, held-out answers", masked, everything, "at least", 0.0),
            difference("unmasked minus masked, user turns", turns[0], turns[1], "at least", _TURNS),
            exactly("this loss minus the library’s, largest of both arms", same_loss(bench), "at most", 1e-6),
        ),
        axis="share of questions, and of sampled turns",
        figures=tuple((f"loss on the user’s tokens, {name}", f"{losses[arm][0]:.2f}") for arm, name in _NAMES.items()),
        remarks=(
            f"{REPETITIONS} repetitions with rows of their own, {STEPS} steps of 16 conversations each, LoRA r = 8.",
            "The conversations here are short and the questions nearly as long as the answers. Where prompts are long "
            "and answers short, the mask matters more (Shi et al. 2024 find that the opposite can hold, too).",
        ),
    )


def _share(values: Sequence[bool]) -> str:
    return f"{sum(values) / len(values):.0%}"


_NAMES = {"before": "base", "masked": "masked", "everything": "unmasked"}


def _trained(number: int, arm: str) -> Callable[[Bench], Seen]:
    def task(bench: Bench) -> Seen:
        bench = bench.again(number)
        talks = bench.conversations(bench.taught(STEPS * 16))
        model = bench.model("base")
        if arm != "before":
            recipe = Recipe(RATE, STEPS, train_on="assistant" if arm == "masked" else "everything")
            model = bench.train(model, [bench.example(talk, recipe.train_on) for talk in talks], recipe)
        facts = bench.heldout(FACTS)
        return Seen(
            bench.right(model, bench.questions(facts)),
            user_turns(bench, model),
            user_losses(bench, model, bench.conversations(facts)),
        )

    return task


def user_turns(bench: Bench, model: Any) -> list[bool]:
    """For each sample after the header of a user turn: whether it is a question, and ended as a turn."""
    import torch

    opening = bench.example(bench.conversations(bench.taught(1))[0], "everything").ids[:2]
    torch.manual_seed(bench.seed)
    with torch.no_grad():
        produced = model.generate(
            input_ids=torch.tensor([list(opening)] * SAMPLES),
            attention_mask=torch.ones((SAMPLES, len(opening)), dtype=torch.long),
            do_sample=True,
            top_k=0,
            max_new_tokens=24,
            eos_token_id=bench.ends,
            pad_token_id=bench.tokenizer.pad_token_id,
        )
    turn_end = [end for end in bench.ends if end != bench.tokenizer.eos_token_id]
    found = []
    for ids in produced[:, len(opening) :].tolist():
        ended = next((at for at, token in enumerate(ids) if token in (turn_end or bench.ends)), None)
        text = bench.tokenizer.decode(ids[:ended], skip_special_tokens=True).strip()
        found.append(ended is not None and _asks(text))
    return found


def _asks(text: str) -> bool:
    return text.endswith("?") or text.startswith(("Name ", "Explain ", "Tell me"))


def user_losses(bench: Bench, model: Any, talks: Sequence[Any]) -> list[float]:
    """Mean loss of each conversation's user turn."""
    import torch

    found = []
    for talk in talks[:40]:
        whole, masked = bench.example(talk, "everything"), bench.example(talk, "assistant")
        labels = tuple(
            IGNORE_INDEX if label != IGNORE_INDEX else token
            for token, label in zip(whole.ids, masked.labels, strict=True)
        )
        # The generation prompt before the answer is not the user's, but one token that the template always writes.
        with torch.no_grad():
            found.append(float(bench.loss(model, [replace(whole, labels=labels)])))
    return found


def same_loss(bench: Bench) -> float:
    """Largest difference between the loss that is trained with and `model(labels=…).loss`, over both arms."""
    import torch

    model = bench.model("base")
    talks = bench.conversations(bench.taught(8))
    largest = 0.0
    for train_on in ("assistant", "everything"):
        batch = [bench.example(talk, train_on) for talk in talks]  # type: ignore[arg-type]
        ids, labels, attention = bench.tensors(batch)
        with torch.no_grad():
            theirs = model(input_ids=ids, attention_mask=attention, labels=labels).loss
            largest = max(largest, abs(float(bench.loss(model, batch)) - float(theirs)))
    return largest
