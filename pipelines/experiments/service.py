"""Experiments for the page: one at a time, shared by everyone who asks for the same, and ended when nobody waits.

A visitor holds a `Ticket`. Two tickets for the same stage and seed watch one process. When the last ticket of an
experiment is left, by Cancel or because the page was closed, its process is killed at once. Results are kept by what
they were measured with: the same models, seed and code give the same numbers.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import Literal

from pipelines.errors import InputError
from pipelines.experiments.catalogue import experiment
from pipelines.experiments.kept import Kept
from pipelines.experiments.process import Process
from pipelines.experiments.records import Progress
from pipelines.experiments.reports import Report
from pipelines.settings import Settings

MOST_WAITING = 20
LARGEST_SEED = 2**31 - 1
Status = Literal["waiting", "running", "done", "failed", "ended"]


@dataclass(frozen=True, slots=True)
class State:
    """Where a ticket stands.

    place:   in the queue, 1 being the next; 0 when it does not wait
    seconds: since it was started
    kept:    whether `report` was measured before this ticket was asked for
    """

    status: Status
    place: int = 0
    seconds: float = 0.0
    progress: Progress | None = None
    report: Report | None = None
    error: str = ""
    kept: bool = False


@dataclass(slots=True)
class _Job:
    """One experiment that somebody wants. Changed under the service's lock only."""

    stage: str
    seed: int
    tickets: int = 0
    status: Status = "waiting"
    began: float = 0.0
    progress: Progress | None = None
    report: Report | None = None
    error: str = ""
    process: Process | None = field(default=None, repr=False)


class ExperimentService:
    """One per studio. Starts nothing by itself."""

    def __init__(self, settings: Settings) -> None:
        self._pair, self._endpoint = settings.pair, settings.endpoint
        self._kept = Kept(settings)
        self._jobs: list[_Job] = []  # the first may run; the others wait in this order
        self._lock = threading.Lock()
        self._closed = False

    @property
    def pair(self) -> str:
        """The pair that is asked, as `--pair` names it."""
        return self._pair

    def ask(self, stage: str, seed: float = 0) -> Ticket:
        """A ticket for that experiment. Raises InputError for an unknown stage, a wrong seed, or a long queue."""
        experiment(stage)
        number = _whole(seed)
        if self._endpoint:
            raise InputError(
                "a proof trains and reads weights, and the endpoint that answers here gives none",
                "Prove",
                "Start the studio without --endpoint to prove it on this machine.",
            )
        if kept := self._kept.read(stage, number):
            return Ticket(self, None, State("done", report=kept, kept=True))
        with self._lock:
            job = next((job for job in self._jobs if (job.stage, job.seed) == (stage, number)), None)
            if job is None:
                if len(self._jobs) > MOST_WAITING:
                    raise InputError(f"{MOST_WAITING} experiments are waiting", "Prove", "Try again in some minutes.")
                job = _Job(stage, number)
                self._jobs.append(job)
            job.tickets += 1
            self._start_next()
        return Ticket(self, job, State("waiting"))

    def close(self) -> None:
        """Kill what runs."""
        with self._lock:
            self._closed = True
            jobs, self._jobs = self._jobs, []
        for job in jobs:
            if job.process:
                job.process.kill()

    # Called by tickets

    def state(self, job: _Job) -> State:
        """Where the job stands now."""
        with self._lock:
            place = self._jobs.index(job) if job.status == "waiting" and job in self._jobs else 0
            seconds = time.monotonic() - job.began if job.began else 0.0
            return State(job.status, place, seconds, job.progress, job.report, job.error)

    def leave(self, job: _Job) -> None:
        """One fewer watches; without anyone, it ends."""
        with self._lock:
            job.tickets -= 1
            if job.tickets > 0 or job not in self._jobs:
                return
            self._jobs.remove(job)
            job.status = "ended"
            process = job.process
        if process:
            process.kill()
        with self._lock:
            self._start_next()

    # Behind it

    def _start_next(self) -> None:
        """Start the first job unless it runs already. Called under the lock."""
        if self._closed or not self._jobs or self._jobs[0].status != "waiting":
            return
        job = self._jobs[0]
        job.status, job.began = "running", time.monotonic()
        try:
            job.process = Process(job.stage, job.seed, self._pair)
        except OSError as error:
            job.status, job.error = "failed", f"No process could be started: {error}. Close other programs first."
            self._jobs.remove(job)
            self._start_next()
            return
        threading.Thread(target=self._follow, args=(job, job.process), name=f"prove-{job.stage}", daemon=True).start()

    def _follow(self, job: _Job, process: Process) -> None:
        """Read what the process says until it ends, then start the next."""
        error, report = "", None
        try:
            for said in process.lines():
                if isinstance(said, Report):
                    report = said
                else:
                    with self._lock:
                        job.progress = said
        except (InputError, RuntimeError, ValueError) as fault:
            error = str(fault)
        if report:
            self._kept.write(report)
        with self._lock:
            if job.status == "running":
                job.report, job.error = report, error
                job.status = "done" if report else "failed"
            with contextlib.suppress(ValueError):
                self._jobs.remove(job)
            self._start_next()


class Ticket:
    """A visitor's hold on an experiment. Leave it when the visitor goes, whatever the reason; twice is once."""

    def __init__(self, service: ExperimentService, job: _Job | None, state: State) -> None:
        self._service, self._job, self._state = service, job, state

    def state(self) -> State:
        """Where it stands now. After leaving, where it stood."""
        if self._job is not None:
            self._state = self._service.state(self._job)
        return self._state

    def leave(self) -> None:
        """Stop watching. The last one to leave ends the experiment."""
        job, self._job = self._job, None
        if job is not None:
            self._state = self._service.state(job)
            self._service.leave(job)


def _whole(seed: object) -> int:
    """The seed as a whole number. Raises InputError."""
    if isinstance(seed, bool) or not isinstance(seed, int | float) or seed != seed or not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"{str(seed)[:40]} is not possible", "seed", f"Use a whole number from 0 to {LARGEST_SEED}.")
    if seed != int(seed):
        raise InputError(f"{seed} is not a whole number", "seed", f"Use one from 0 to {LARGEST_SEED}.")
    return int(seed)
