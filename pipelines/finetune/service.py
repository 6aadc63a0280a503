"""Fine-tuning as the studio offers it: start, queue, stop, look, resume. The work is done by workers beside it.

One worker is kept warm, with its imports done, so that a click does not wait for them. A run belongs to its directory:
this service may be killed and started again, and finds the runs where they are, still training. A service that is
closed stops its runs first; they can be resumed.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError
from pipelines.faults import writing
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.disk import budget
from pipelines.finetune.lent import LentWorker, check_length, time_machine
from pipelines.finetune.measuring import Machine, read_machine, write_machine
from pipelines.finetune.prediction import Prediction
from pipelines.finetune.preparing import Plan, foresee, plan, prepare_run
from pipelines.finetune.queue import Visitors, wait
from pipelines.finetune.rows import collect
from pipelines.finetune.run import ENDED, RunDirectory
from pipelines.finetune.view import RunView, view
from pipelines.finetune.warm import WarmWorker, how_it_ended
from pipelines.models import zero_gpu
from pipelines.settings import Settings
from pipelines.visiting import limits_of

if TYPE_CHECKING:
    from pipelines.models import ModelManager

STOP_SECONDS = 10.0
CLOSE_SECONDS = 4.0  # a service manager gives a process five or ten seconds before it kills it
LISTED = 50


class FinetuneService:
    """One per studio. `at_once`: how many runs may train at the same time; more of them only share the cores."""

    def __init__(self, settings: Settings, manager: ModelManager, at_once: int = 1) -> None:
        self._settings, self._manager, self._at_once = settings, manager, at_once
        budget()  # a wrong size in the environment is said at the start
        self._runs_dir = settings.runs_dir.resolve()
        self._queue: deque[str] = deque()
        self._working: dict[str, WarmWorker | LentWorker] = {}
        self._untold: dict[str, str] = {}  # why runs failed whose directory takes no more words
        self._asked: dict[str, Context] = {}  # of the requests that started the runs, where a GPU is lent for them
        self._warm: WarmWorker | None = None
        self._change = threading.Condition()
        limits = limits_of(settings)
        self._visitors, self._longest = Visitors(self._unfinished, limits), limits.run_seconds
        self._dispatcher: threading.Thread | None = None
        self._closed = False

    # What the page and the endpoints call

    def start(self, config: FinetuneConfig | Mapping[str, Any], visitor: str = "") -> str:
        """Check, write the run's directory, queue it; returns its id. Raises InputError with every fault.

        visitor: the hash of the session that asks, whose runs are limited; "" is nobody in particular
        """
        asked = config if isinstance(config, FinetuneConfig) else FinetuneConfig.from_dict(config)
        if asked.resume_from:
            self._care(RunDirectory.open(self._runs_dir, asked.resume_from))
        with self._visitors.admit(visitor) as admitted:
            if zero_gpu.holds_none():
                self._check_lent(asked)
            run = prepare_run(asked, self._runs_dir, self._manager, self._settings.device, self._longest)
            admitted(run.id)
            self._manager.owners.note(run.id, visitor)
            if zero_gpu.holds_none():
                self._asked[run.id] = copy_context()
            self._enqueue(run.id)
        return run.id

    def plan(self, config: FinetuneConfig | Mapping[str, Any]) -> Plan:
        """What `start` would train, all defaults worked out. Raises InputError with every fault."""
        asked = config if isinstance(config, FinetuneConfig) else FinetuneConfig.from_dict(config)
        return plan(asked, self._runs_dir, self._manager)

    def predict(self, config: FinetuneConfig | Mapping[str, Any]) -> Prediction:
        """What `start` would take, in seconds and bytes. Raises InputError with every fault."""
        return foresee(self.plan(config), self._runs_dir, self._manager, self._settings.device)

    def stop(self, run_id: str) -> str:
        """Ask the run to stop and wait until it has saved; returns its status then. Stopping twice is no error."""
        run = RunDirectory.open(self._runs_dir, run_id)
        if (status := self._care(run)) in ENDED:
            return status
        with self._change:
            # One that is to be launched by hand and was not yet has nobody else to end it.
            alone = run.left_to_others and run.status() == "queued" and not run.worker_alive()
            waiting = alone or run_id in self._queue
            if waiting:
                with writing(self._runs_dir):
                    run.set_status("stopped")
                if run_id in self._queue:
                    self._queue.remove(run_id)
        if not waiting:
            with writing(self._runs_dir):
                run.ask_to_stop()
            limit = time.monotonic() + STOP_SECONDS
            while self._care(run) not in ENDED and time.monotonic() < limit:
                time.sleep(0.05)
        return self._care(run)

    def view(self, run_id: str) -> RunView:
        """The run where it stands. Raises InputError for an id that no run has."""
        run = RunDirectory.open(self._runs_dir, run_id)
        self._care(run)
        return self._seen(run)

    def list(self) -> list[RunView]:
        """The newest runs that whoever is being served may be shown, newest first, at most fifty."""
        lists = self._manager.owners.lists
        runs = [run for run in RunDirectory.all(self._runs_dir) if lists(run.id)][:LISTED]
        for run in runs:
            self._care(run)
        seen: dict[str, RunView] = {}
        return [self._seen(run, seen) for run in runs]

    def directory(self, run_id: str) -> RunDirectory:
        """Where the run keeps its files."""
        return RunDirectory.open(self._runs_dir, run_id)

    # The life of the studio

    def load(self) -> tuple[int, int]:
        """How many runs wait, and how many this studio trains."""
        with self._change:
            return len(self._queue), len(self._working)

    def warm_up(self) -> None:
        """Take up what an earlier studio left, and start a worker that waits for the first run."""
        for run in reversed(RunDirectory.all(self._runs_dir)):
            if self._care(run) == "queued" and not run.worker_alive() and not run.left_to_others:
                self._enqueue(run.id)
        with contextlib.suppress(InputError):
            collect(FinetuneConfig(), self._runs_dir)  # the lesson's rows are read once and kept
        with self._change:
            self._start_warm()

    def wait_until_warm(self, seconds: float = 60.0) -> bool:
        """Whether a waiting worker has finished its imports within `seconds`."""
        with self._change:
            warm = self._warm
        return warm is not None and warm.ready.wait(seconds)

    def close(self) -> None:
        """End the waiting worker, and stop the runs that train: they save, within `CLOSE_SECONDS`, or are cut off."""
        with self._change:
            self._closed = True
            if self._warm:
                self._warm.dismiss()
            working = dict(self._working)
            self._change.notify_all()
        limit = time.monotonic() + CLOSE_SECONDS
        for run_id in working:
            with contextlib.suppress(OSError):  # deleted, which its worker sees, too; or no room: it is cut off below
                RunDirectory(self._runs_dir / run_id).ask_to_stop()
        for run_id, worker in working.items():
            try:
                worker.process.wait(max(0.0, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
                run = RunDirectory(self._runs_dir / run_id)
                if run.status() == "running":  # one that it had not begun stays in the queue for the next studio
                    self._fail(run, "The studio was ended before the run had saved its last step.")

    # Behind it

    def _enqueue(self, run_id: str) -> None:
        with self._change:
            if run_id not in self._queue:
                self._queue.append(run_id)
            if self._dispatcher is None:
                self._dispatcher = threading.Thread(target=self._dispatch, name="finetune-queue", daemon=True)
                self._dispatcher.start()
            self._change.notify_all()

    def _seen(self, run: RunDirectory, seen: dict[str, RunView] | None = None) -> RunView:
        """The run as it stands, with its place in the queue and how long that is from the front.

        seen: the views of this moment by run id, so that a list of runs that wait for each other reads each once
        """
        read = {} if seen is None else seen

        def look(one: RunDirectory) -> RunView:
            if one.id not in read:
                seen = view(one)
                why = "" if seen.ended else self._untold.get(one.id, "")
                read[one.id] = replace(seen, status="failed", error=why, phase="") if why else seen
            return read[one.id]

        with self._change:
            waiting = list(self._queue)
        if run.id not in waiting:
            return look(run)
        place = waiting.index(run.id)
        before = [*self._training(), *(RunDirectory(self._runs_dir / one) for one in waiting[:place])]
        return replace(look(run), place=place + 1, wait=wait([look(one) for one in before], self._at_once))

    def _unfinished(self) -> Sequence[str]:
        """The ids of the runs that wait or train."""
        with self._change:
            return [*self._queue, *self._working]

    def _dispatch(self) -> None:
        """Give the next run to a worker whenever one may work."""
        while True:
            with self._change:
                while not self._closed and not (self._queue and self._busy() < self._at_once):
                    # A run of another studio over the same directory ends without telling us.
                    self._change.wait(timeout=0.5 if self._queue else None)
                if self._closed:
                    return
                run = RunDirectory(self._runs_dir / self._queue.popleft())
                if self._is_settled(run):
                    continue
                try:
                    worker = self._hand_over(run)
                except OSError as error:
                    self._tell(run, f"No worker could be started: {error}. Close other programs first.")
                    continue
                self._working[run.id] = worker
            threading.Thread(target=self._watch, args=(run, worker), name=f"run-{run.id[:6]}", daemon=True).start()

    @staticmethod
    def _is_settled(run: RunDirectory) -> bool:
        """Whether another studio over the same directory has trained or stopped it since it was queued here."""
        if run.status() != "queued":
            return True
        if not run.stop_asked or run.worker_alive():
            return False
        with contextlib.suppress(OSError):
            run.set_status("stopped")
        return True

    def _busy(self) -> int:
        """How many runs are being trained in this directory."""
        return len(self._training())

    def _training(self) -> Sequence[RunDirectory]:
        """The runs that are being trained in this directory, by workers of ours or of a studio before us."""
        working = set(self._working)
        runs = RunDirectory.all(self._runs_dir)[:LISTED]
        others = [run for run in runs if run.id not in working and run.worker_alive() and run.status() not in ENDED]
        return [*(RunDirectory(self._runs_dir / run_id) for run_id in working), *others]

    def _check_lent(self, asked: FinetuneConfig) -> None:
        """Time the GPU that is lent here once, and refuse what it would not be lent for long enough."""
        if read_machine(self._runs_dir) is None and (found := time_machine(self._settings.device)):
            self._keep_machine(found)
        if not asked.resume_from:
            check_length(self.predict(asked))

    def _hand_over(self, run: RunDirectory) -> WarmWorker | LentWorker:
        if zero_gpu.holds_none():
            return LentWorker(run, self._asked.pop(run.id, copy_context()))
        warm = self._warm if self._warm and self._warm.process.poll() is None else WarmWorker()
        self._warm = None
        warm.begin(run.path)
        return warm

    def _watch(self, run: RunDirectory, worker: WarmWorker | LentWorker) -> None:
        """Wait for the worker's end, say why if it did not, and keep the next one ready."""
        code = worker.process.wait()
        with contextlib.suppress(OSError):  # a run that was deleted has nothing left to write into
            worker.keep_log(run.path / "worker.log")
        # One that lives is another studio's: of two workers that were given the run, ours came second.
        if run.path.is_dir() and run.status() not in ENDED and not run.worker_alive():
            self._fail(run, how_it_ended(code))
        with self._change:
            self._working.pop(run.id, None)
            if not self._closed and not self._queue:
                self._start_warm()
            self._change.notify_all()

    def _start_warm(self) -> None:
        if zero_gpu.holds_none():
            return
        if not self._closed and (self._warm is None or self._warm.process.poll() is not None):
            with contextlib.suppress(OSError):  # without one, the next run starts its own
                # The first worker of a machine times it, for predictions.
                known = read_machine(self._runs_dir) is not None
                self._warm = WarmWorker("" if known else self._settings.device, self._keep_machine)

    def _keep_machine(self, text: str) -> None:
        write_machine(self._runs_dir, Machine(**json.loads(text)))

    def _care(self, run: RunDirectory) -> str:
        """The run's status, after marking it failed if it says that it runs and no worker has it."""
        status = run.status()
        if status in ENDED or run.id in self._working:
            return status
        if why := self._untold.get(run.id):
            self._tell(run, why)  # there may be room by now
            return "failed"
        if status == "running" and not run.worker_alive():
            with self._change:
                if run.status() == "running":
                    self._fail(run, "The worker is gone: it was killed, or the machine was restarted.")
            return "failed" if run.id in self._untold else run.status()
        return status

    def _fail(self, run: RunDirectory, what: str) -> None:
        with contextlib.suppress(OSError):
            run.keep_last_checkpoint()
        self._tell(run, f"{what} {run.advice()}")

    def _tell(self, run: RunDirectory, why: str) -> None:
        """Write that it failed; where its directory takes no more words, keep them here until it does."""
        try:
            run.set_status("failed", why)
            self._untold.pop(run.id, None)
        except OSError:
            self._untold[run.id] = why
