"""Lent GPUs, by a double of `spaces` that forks and pickles; and that nothing happens without it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.errors import InputError
from pipelines.models import zero_gpu

ROOT = Path(__file__).resolve().parents[3]
DOUBLE = ROOT / "tests" / "spaces_double"


def on_zero_gpu(code: str, tmp_path: Path) -> dict:
    """What a studio's process on ZeroGPU finds: `code` fills `found`."""
    head = "import json, spaces\nfrom dataclasses import replace\nfrom pathlib import Path\nfound = {}\n"
    environment = os.environ | {
        "SPACES_ZERO_GPU": "true",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{DOUBLE}",
        "HF_HUB_OFFLINE": "1",
        "RUNS": str(tmp_path / "runs"),
    }
    tail = "\nprint('FOUND' + json.dumps(found), flush=True)"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", head + code + tail],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        out, errors = process.communicate(timeout=200)
    finally:
        with contextlib.suppress(ProcessLookupError):  # what it forked, too
            os.killpg(process.pid, signal.SIGKILL)
    assert "FOUND" in out, errors
    return json.loads(out.rpartition("FOUND")[2])


def test_elsewhere_a_function_is_given_back_as_it_is(monkeypatch):
    def function():
        raise AssertionError

    assert zero_gpu.on_gpu(lambda: 1.0)(function) is function
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")  # and no `spaces`
    monkeypatch.setattr(zero_gpu, "find_spec", lambda name: None)
    assert zero_gpu.on_gpu(lambda: 1.0)(function) is function
    monkeypatch.delenv("SPACES_ZERO_GPU")
    monkeypatch.setattr(zero_gpu, "find_spec", lambda name: object())  # a Space of another kind has it installed
    assert zero_gpu.on_gpu(lambda: 1.0)(function) is function
    assert not zero_gpu.holds_none()


def test_the_studios_functions_are_their_own_here():
    from pipelines import completion, together

    for function in (completion.complete, completion.chat, completion.next_tokens, together.answer_together):
        assert not hasattr(function, "__wrapped__")


def test_an_estimate_grows_with_the_weights_and_with_the_tokens():
    assert zero_gpu.answer_seconds([0], 1) == zero_gpu.answer_seconds([zero_gpu.UNKNOWN], 1)
    assert zero_gpu.answer_seconds([10**9], 10) == pytest.approx(5 + 2 + 0.4)
    assert zero_gpu.answer_seconds([10**9, 10**9], 10) == pytest.approx(5 + 4 + 0.4)


ANSWERS = """
import os, threading
from pipelines import completion, together
from pipelines.completion import Sampling
from pipelines.errors import InputError
from pipelines.messages import Message
from pipelines.models import ModelManager
from pipelines.models.device import load_libraries
from pipelines.settings import Settings
load_libraries()
manager = ModelManager(Settings(runs_dir=Path(os.environ["RUNS"])))
values = list(completion.complete(manager, "The capital of France is", sampling=Sampling(8)))
found["text"], found["values"], found["reason"] = values[-1].text, len(values), values[-1].stop_reason
found["here"] = manager.gauge().used
list(completion.complete(manager, "The", sampling=Sampling(200)))
found["next"] = completion.next_tokens(manager, "The capital of France is", k=1)[0].token
question = (Message("user", "What is the capital of France?"),)
*_, found_chat = completion.chat(manager, question, sampling=Sampling(max_new_tokens=20))
found["chat"] = found_chat.text
asks = [together.Ask("base", "The", False), together.Ask("pocket-poet", "Who are you?", True)]
*_, both = together.answer_together(manager, asks, Sampling(8))
found["both"] = [answer.completion.stop_reason for answer in both]
found["durations"] = [seconds for _, seconds in spaces.calls]
found["pocket"] = manager.resolve("base").parameters

stop = threading.Event()
growing = completion.complete(manager, "The", sampling=Sampling(400, 2.0, 2), cancel=stop)
next(growing)
stop.set()
found["stopped"] = list(growing)[-1].stop_reason
closing = completion.complete(manager, "The", sampling=Sampling(400, 2.0, 2))
next(closing)
closing.close()
found["after"] = completion.next_tokens(manager, "The capital of France is", k=1)[0].token

def said(function):
    before = len(spaces.calls)
    try:
        list(function())
    except InputError as error:
        return str(error), len(spaces.calls) - before
found["empty"] = said(lambda: completion.complete(manager, " "))
found["long"] = said(lambda: completion.complete(manager, "The", sampling=Sampling(4096)))
found["there"] = said(lambda: completion.chat(manager, ()))
"""


def test_a_decorated_function_asks_for_what_its_request_is_estimated_to_take(monkeypatch):
    asked = []

    def gpu(duration):
        def lend(task):
            def lent(*arguments):
                asked.append(duration(*arguments))
                yield from task(*arguments)

            return lent

        return lend

    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=gpu, __spec__=object()))
    monkeypatch.setattr(zero_gpu, "_lent", False)

    @zero_gpu.on_gpu(lambda tokens, start: 5 + 0.5 * tokens, str)
    def count(tokens, start=0):
        assert not zero_gpu.holds_none()
        return iter(range(start, start + tokens))

    assert zero_gpu.holds_none()
    assert list(count(3)) == [0, 1, 2]
    monkeypatch.setattr(zero_gpu, "_lent", False)
    assert list(count(20, start=7))[-1] == 26
    assert asked == [7, 15]
    assert list(count(1_000))[-1] == 999, "where the GPU is, nobody is asked again"
    monkeypatch.setattr(zero_gpu, "_lent", False)
    with pytest.raises(InputError, match="this takes about 505 s, and ZeroGPU lends a GPU for 120 s at most"):
        count(1_000)
    assert len(asked) == 2


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    return on_zero_gpu(ANSWERS, tmp_path_factory.mktemp("answers"))


@pytest.mark.slow
def test_an_answer_is_written_where_the_gpu_is_and_streams_back(answers):
    assert "Paris" in answers["text"] and answers["values"] > 1 and answers["reason"] in ("eos", "length")
    assert "Paris" in answers["next"] and "Paris" in answers["chat"]
    assert answers["here"] == 0, "this process holds no weights"
    assert all(reason in ("eos", "length") for reason in answers["both"])


@pytest.mark.slow
def test_the_duration_that_is_asked_for_follows_the_request(answers):
    def asked(tokens):
        return -(-zero_gpu.answer_seconds([answers["pocket"]], tokens) // 1)

    assert answers["durations"] == [asked(8), asked(200), asked(1), asked(20), asked(8)]


@pytest.mark.slow
def test_stop_and_a_closed_page_end_the_call_and_the_next_one_is_served(answers):
    assert answers["stopped"] == "cancelled" and "Paris" in answers["after"]


@pytest.mark.slow
def test_what_a_person_got_wrong_comes_back_as_it_was_said_and_asks_for_no_gpu_where_it_can(answers):
    assert answers["empty"] == ["prompt: is empty. Write something for the model to continue.", 0]
    assert answers["long"][0].startswith("ZeroGPU: this takes about 169 s, and ZeroGPU lends a GPU for 120 s at most")
    assert answers["long"][1] == 0
    assert answers["there"] == ["messages: the conversation is empty. Add at least one message.", 1]


RUNS = """
import contextvars, os, time
from components.context import Studio
from pipelines.errors import InputError
from pipelines.settings import Settings
studio = Studio.of(Settings(runs_dir=Path(os.environ["RUNS"])))
studio._warm_up()
found["workers"] = studio.runs._warm is not None

def start():
    spaces.visitor.set("ada")
    return studio.runs.start({"max_steps": 3, "batch_size": 2})
run_id = contextvars.copy_context().run(start)
while (seen := studio.runs.view(run_id)).status not in ("finished", "failed", "stopped"):
    time.sleep(0.1)
found["status"], found["error"], found["steps"] = seen.status, seen.error, len(seen.points)
found["adapter"] = (studio.runs.directory(run_id).path / "adapter" / "adapter_model.safetensors").is_file()
found["predicted"] = seen.prediction.seconds
found["calls"] = list(spaces.calls)
spaces.visitor.set("")
*_, answer = __import__("pipelines.completion").completion.complete(studio.manager, "The", f"run:{run_id}")
found["answered"] = answer.stop_reason
before = len(spaces.calls)
try:
    studio.runs.start({"max_steps": 100000})
except InputError as error:
    found["refused"] = str(error)
found["asked"] = len(spaces.calls) - before
found["runs"] = len(studio.runs.list())
studio.close()
"""


@pytest.mark.slow
def test_a_run_trains_where_the_gpu_is_within_what_was_predicted(tmp_path):
    from pipelines.finetune.lent import SPARE, TIMING

    found = on_zero_gpu(RUNS, tmp_path)
    assert (found["status"], found["error"], found["steps"]) == ("finished", "", 3) and found["adapter"]
    assert not found["workers"], "nobody waits in a process that has no GPU"
    # The machine is timed once, and both calls are on the account of who pressed Start.
    asked = -(-(zero_gpu.STARTING + SPARE * found["predicted"]) // 1)
    assert found["calls"] == [["ada", TIMING], ["ada", asked]]
    assert found["answered"] in ("eos", "length")
    assert "ZeroGPU lends one for 120 s at most. Take fewer steps" in found["refused"]
    assert found["asked"] == 0 and found["runs"] == 1
