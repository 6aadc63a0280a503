"""The process in which a run is trained.

    python -m pipelines.finetune.worker --run runs/<id>      train that run; also under `accelerate launch`
    python -m pipelines.finetune.worker --warm               import everything, then train the run named on stdin

The second form is what the studio keeps ready, so that a click does not wait for imports. It leaves when its standard
input ends, which it does when the studio goes; once it has a run it finishes it, even if the studio is killed. Both
forms do the same with the run's directory.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pipelines.errors import InputError
from pipelines.faults import FULL_SAID, UNTOLD, is_disk_full, is_out_of_memory
from pipelines.finetune.measuring import forget_peak, resident_bytes
from pipelines.finetune.processes import Reader, rank
from pipelines.finetune.recorder import Clock
from pipelines.finetune.run import ENDED, HEARTBEAT_SECONDS, RunDirectory
from pipelines.priority import give_way
from pipelines.stages import ASSETS

READY = "ready"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 when the run finished or was stopped, 1 when it failed, UNTOLD when it could not even say so."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.finetune.worker", description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", type=Path, metavar="DIR", help="the run's directory")
    what.add_argument("--warm", action="store_true", help="read the run's directory from standard input")
    parser.add_argument("--measure", metavar="DEVICE", help="with --warm: time this machine first, and print it")
    chosen = parser.parse_args(arguments)
    if not chosen.warm:
        return work(RunDirectory(chosen.run))
    give_way()
    prepare()
    rehearse()
    print(READY, measured(chosen.measure) if chosen.measure else "", flush=True)
    line = sys.stdin.readline().strip()
    if not line:
        return 0
    run = RunDirectory(Path(line))
    with contextlib.suppress(OSError):  # a full disk; that is for the run to say
        _write_to(run.path / "worker.log")
    return work(run)


def prepare() -> None:
    """Import what training needs."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import datasets
    import torch  # noqa: F401
    import transformers
    from peft import LoraConfig  # noqa: F401
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM  # noqa: F401
    from trl import SFTConfig, SFTTrainer  # noqa: F401

    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    # What was imported is never garbage; accelerate's collections would go through all of it, 0.4 s each time.
    gc.collect()
    gc.freeze()


def rehearse() -> None:
    """Load the embedded base and let it say a word: half a second of what libraries do at their first use."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from pipelines.finetune.evaluate import answer_all

    folder = ASSETS / "models" / "pocket-base"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    answer_all(model, tokenizer, [tokenizer("What")["input_ids"]], 2, [tokenizer.eos_token_id])


def measured(device: str) -> str:
    """What this machine can do, as JSON; empty for a device that it lacks, of which a run will complain."""
    from pipelines.finetune.computing import use_threads
    from pipelines.finetune.measuring import measure_machine

    try:
        return json.dumps(asdict(measure_machine(device, use_threads)))
    except InputError:
        return ""


def work(run: RunDirectory) -> int:
    """Train the run and write how it ended, whatever happens short of a kill.

    Under `accelerate launch` each process does this, and the first one speaks for all (`pipelines.finetune.processes`).
    """
    clock, ended = Clock(run.progress_before()[0]), threading.Event()
    if rank() == 0:
        if run.status() in ENDED:
            print(f"{run.path}: this run has ended; start one that resumes it", file=sys.stderr)
            return 1
        try:
            taken = run.take()
        except OSError as error:
            return _failed(run, error)
        if not taken:
            print(f"{run.path}: another worker has this run", file=sys.stderr)
            return 1
        threading.Thread(target=_keep_beating, args=(run, ended), daemon=True).start()
    else:
        run = Reader(run.path)
    # A machine that shuts down, or a person who ends the process kindly, gets what a press on Stop gets.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: run.ask_to_stop())
    try:
        run.set_status("running")
        prepare()
        forget_peak()
        clock.baseline = resident_bytes()
        from pipelines.finetune.trainer import train

        status = train(run, clock)
        run.set_status(status, seconds=clock.seconds())
    except BaseException as error:
        return _failed(run, error, clock.seconds())
    finally:
        ended.set()
    return 0


def _failed(run: RunDirectory, error: BaseException, seconds: float | None = None) -> int:
    """Write why it ended, and offer what it has learned so far; returns the exit status."""
    with contextlib.suppress(OSError):  # the log may lie on the disk that is full
        if not isinstance(error, InputError):
            traceback.print_exc()
    if rank() == 0:
        if is_disk_full(error):
            run.drop_half_checkpoint()
        with contextlib.suppress(OSError):
            run.keep_last_checkpoint()
    try:
        run.set_status("failed", str(error) if isinstance(error, InputError) else explain(error, run), seconds)
    except OSError as unwritten:  # of a run that was deleted there is nothing to tell
        _say_nothing_more()
        return UNTOLD if is_disk_full(unwritten) else 1
    return 1


def explain(error: BaseException, run: RunDirectory) -> str:
    """A sentence on what happened and what to do, from an error that is not the person's."""
    text = str(error)
    if is_disk_full(error):
        return f"{FULL_SAID} {run.advice()}"
    if is_out_of_memory(error):
        return (
            "There was not enough memory. Use a smaller batch_size or max_length, or method qlora"
            f"{', and resume' if run.checkpoints() else ''}."
        )
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return f"The worker was ended from outside. {run.advice()}"
    reason = text.strip().splitlines()[0][:300] if text.strip() else type(error).__name__
    return f"Training broke off: {reason}. {run.advice()}"


def _keep_beating(run: RunDirectory, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_SECONDS):
        try:
            run.beat()
        except OSError:  # a full disk may have room again before the run writes anything
            if not run.path.exists():
                os._exit(1)  # deleted: nobody can read what this run would still do


def _say_nothing_more() -> None:
    """Let what is still printed go nowhere: a log on a full disk would turn the exit status into one of Python's."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(null, stream.fileno())


def _write_to(path: Path) -> None:
    """Send everything printed from here on to the run's own log: the studio may be gone before the run ends."""
    sys.stdout.flush()
    sys.stderr.flush()
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)


if __name__ == "__main__":
    sys.exit(main())
