"""The demonstration of each stage, really run on the running pair with the chapter's prompts.

A demonstration grows while it runs; the last value of `demonstrating` holds all of it. What a pair, or an endpoint
that answers in its place, cannot do is said in `Demonstration.limits`, and the rest is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from pipelines.errors import InputError
from pipelines.teaching import answered, counted, trained
from pipelines.teaching.records import Demonstration

if TYPE_CHECKING:
    from pipelines.finetune import FinetuneService
    from pipelines.models import ModelManager

_RUN: dict[str, Callable[[ModelManager], Iterator[Demonstration]]] = {
    "problem": answered.problem,
    "sft": counted.sft,
    "data": counted.data,
    "templates": answered.templates,
    "lora": counted.lora,
    "qlora": counted.qlora,
    "base-vs-chat": answered.characters,
}


def demonstrating(stage: str, manager: ModelManager, runs: FinetuneService | None = None) -> Iterator[Demonstration]:
    """The demonstration of that stage as it grows; the last value is `done`.

    runs: where Practice trains; without it, it says so. What cannot be run is a limit of the last value, no error.
    """
    began = time.perf_counter()
    last = Demonstration(stage)
    try:
        for last in trained.practice(manager, runs) if stage == "practice" else _RUN[stage](manager):
            yield last
    except InputError as error:
        last = replace(last, limits=(*last.limits, str(error)))
    yield replace(last, done=True, doing="", seconds=time.perf_counter() - began)


def demonstrate(stage: str, manager: ModelManager, runs: FinetuneService | None = None) -> Demonstration:
    """All of it. Takes as long as it takes: up to half a minute on two cores, where something is trained."""
    *_, last = demonstrating(stage, manager, runs)
    return last
