"""A visitor's view of an experiment: its states one after the other, and its end when the visitor goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from pipelines.errors import InputError
from pipelines.experiments import ExperimentService
from pipelines.experiments.service import State

LOOK = 0.5  # seconds between two looks


async def watch(experiments: ExperimentService, stage: str, seed: float | None) -> AsyncGenerator[State, None]:
    """States of that experiment until one holds its report. A visitor who leaves gives it up at the next look.

    Asynchronous, so that a class that watches together takes no thread of the studio for waiting.
    Raises InputError for a wrong value, and for an experiment that could not be finished.
    """
    # The first time, the files of the models are looked at.
    ticket = await asyncio.to_thread(experiments.ask, stage, 0 if seed is None else seed)
    try:
        while True:
            state = ticket.state()
            if state.status in ("failed", "ended"):
                raise InputError((state.error or "the studio ended this experiment").rstrip("."), "Prove", "")
            yield state
            if state.report:
                return
            await asyncio.sleep(LOOK)
    finally:
        ticket.leave()
