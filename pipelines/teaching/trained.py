"""The demonstration of Practice: a run of the studio's own, watched while it trains."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from textwrap import shorten
from typing import TYPE_CHECKING

from pipelines.errors import InputError
from pipelines.finetune.config import FinetuneConfig
from pipelines.running_example import ANSWER, QUESTION
from pipelines.teaching.records import Bar, Bars, Demonstration, Said

if TYPE_CHECKING:
    from pipelines.finetune import FinetuneService
    from pipelines.finetune.view import RunView
    from pipelines.models import ModelManager

STEPS, LOOKS, ROWS = 40, 20, 48  # optimizer steps, steps between two looks, held-out questions at each
LOOK = 0.4  # seconds between two looks at the run
LARGEST = 50_000_000  # parameters; a larger base takes longer than a lesson waits, on a CPU
LONGEST = 600.0  # seconds
_WRONG, _RIGHT = 1 / 3, 2 / 3


def practice(manager: ModelManager, runs: FinetuneService | None) -> Iterator[Demonstration]:
    """Train the base for STEPS steps and show its answers at each look; one that was trained so before is shown again.

    Raises InputError where nothing can be trained.
    """
    shown = Demonstration("practice", doing="a run is started")
    yield shown
    if why := manager.no_weights("base"):
        raise InputError(f"Nothing is trained here: {why}", "", "Start the studio without --endpoint to train.")
    base = manager.resolve("base")
    if runs is None:
        raise InputError("Nothing is trained here: there is no training service", "", "")
    if base.parameters > LARGEST:
        size = f"{base.parameters:,} parameters"
        raise InputError(f"{base.title} has {size}: training it outlasts this beat", "", "Start it in Practice.")
    config = FinetuneConfig(max_steps=STEPS, eval_steps=LOOKS, eval_rows=ROWS, prompts=(QUESTION,))
    earlier = _earlier(runs, config)
    run = earlier or runs.start(config)
    limit = time.monotonic() + LONGEST
    while True:
        view = runs.view(run)
        shown = _seen(view, bool(earlier))
        if view.ended or time.monotonic() > limit:
            break
        yield shown
        time.sleep(LOOK)
    if view.status != "finished":
        raise InputError(f"The run ended as {view.status}: {view.error or 'no reason was given'}", "", "")
    yield shown


def _earlier(runs: FinetuneService, config: FinetuneConfig) -> str:
    """The newest finished run of the very same settings and base, or nothing."""
    planned = runs.plan(config)
    for view in runs.list():
        if view.status == "finished" and view.model_key == planned.model.key and view.config == planned.config:
            return view.run_id
    return ""


def _seen(view: RunView, earlier: bool) -> Demonstration:
    """The run at this moment."""
    answers = tuple(
        Said(
            "Before training" if sample.step == 0 else f"After {sample.step} steps",
            QUESTION,
            shorten(sample.text, 90, placeholder=" …"),
            right=ANSWER in sample.text,
            note="answers" if ANSWER in sample.text else "does not answer",
        )
        for sample in view.samples
        if sample.prompt == QUESTION
    )
    looks = [(one.step, one.accuracy) for one in view.evals if one.accuracy is not None]
    bars = tuple(
        Bar("before training" if step == 0 else f"after {step} steps", accuracy, f"{accuracy:.0%}")
        for step, accuracy in looks
    )
    heading = f"Answered rightly, of {ROWS} questions about things that no training row mentions"
    shown = Demonstration(
        "practice",
        answers=answers,
        bars=(Bars(heading, bars),) if bars else (),
        doing=view.phase or f"step {view.step} of {view.steps}",
    )
    if not view.ended or not looks:
        return shown
    first, last = looks[0][1], looks[-1][1]
    when = ", earlier" if earlier else ""
    return replace(
        shown,
        outcome=0 if last < _WRONG else 2 if last > _RIGHT else 1,
        conclusion=f"From {first:.0%} to {last:.0%} in {view.steps} steps: {view.seconds:.0f} s on this machine{when}.",
    )
