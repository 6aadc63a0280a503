"""What a run says of its model while it trains: held-out rows, typed pairs and sample prompts, answered."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from pipelines.finetune.conversations import Examples
from pipelines.finetune.dpo import win_rate
from pipelines.finetune.evaluate import answer_all, score
from pipelines.finetune.processes import agreed, share_of, together
from pipelines.finetune.recorder import Clock
from pipelines.finetune.run import RunDirectory


def answer_and_record(
    run: RunDirectory,
    model: Any,
    tokenizer: Any,
    examples: Examples,
    end_ids: Sequence[int],
    step: int,
    loss: float | None,
    clock: Clock,
    sharded: bool = False,
) -> None:
    """Let the model answer held-out rows, typed pairs and sample prompts in one batch, and write what came out.

    Several processes share the rows. Where they share the weights (`sharded`), each needs the others for every token,
    and all answer all rows in step.
    """
    groups = [[question.ids for question in part] for part in (examples.questions, examples.taught, examples.prompts)]
    # Before training B is zero: the adapter adds nothing and takes a third of the time to the first point of the curve.
    untouched = step == 0 and run.start is None and hasattr(model, "disable_adapter")
    with model.disable_adapter() if untouched else contextlib.nullcontext():
        asked = [ids for group in groups for ids in group]
        answers = answer_all(
            model,
            tokenizer,
            asked if sharded else share_of(asked),
            examples.max_new_tokens,
            end_ids,
            cancelled=(lambda: False) if sharded else lambda: run.stop_asked,
        )
    if agreed(run.stop_asked):
        return
    if not sharded:
        answers = together(answers)
    held, taught = len(examples.questions), len(examples.taught)
    preferring = any(example.pair for example in examples.heldout)
    on_held = score(answers[:held], [q.accepted for q in examples.questions], [q.reference for q in examples.questions])
    on_taught = score(
        answers[held : held + taught], [q.accepted for q in examples.taught], [q.reference for q in examples.taught]
    )
    run.append(
        "eval",
        step=step,
        loss=loss,
        accuracy=on_held.accuracy if held else None,
        stopped=on_held.stopped if held else None,
        taught=on_taught.exact if taught else None,
        seconds=clock.seconds(),
        **({"win_rate": win_rate(model, examples.heldout, tokenizer.pad_token_id)} if preferring else {}),
    )
    said = [answer.text for answer in answers[held + taught :]]
    run.add_samples(step, list(zip([question.text for question in examples.prompts], said, strict=True)))
