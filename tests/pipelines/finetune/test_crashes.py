"""Workers and studios killed at random moments: no run is lost or corrupt, and each goes on to the same losses.

Here the pieces, with random models; `tests/browser/test_crashes.py` kills the real studio under the eyes of a page.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from pipelines.finetune import FinetuneService
from pipelines.models import ModelManager
from pipelines.settings import Settings
from tests.pipelines.finetune.test_service import wait_for, wait_for_end

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RUN = {"max_steps": 60, "batch_size": 4, "eval_steps": 6, "eval_rows": 2, "seed": 3}
KILLS = int(os.environ.get("CRASHES", "3"))

# A studio without a page: starts a run, says its id, and would live for ever.
STUDIO = """
import json, sys, time
from pathlib import Path
from pipelines.data import lesson
from pipelines.finetune import FinetuneService
from pipelines.models import ModelManager
from pipelines.settings import Settings
asked = json.loads(sys.argv[1])
lesson.DIRECTORY = Path(asked["lesson"])
settings = Settings(pair=asked["pair"], runs_dir=Path(asked["runs"]), device="cpu")
service = FinetuneService(settings, ModelManager(settings))
service.warm_up()
service.wait_until_warm()
print(service.start(asked["config"]), flush=True)
time.sleep(1e6)
"""


@pytest.fixture(scope="module")
def unbroken(service):
    seen = wait_for_end(service, service.start(RUN))
    assert seen.status == "finished"
    return [point.loss for point in seen.points]


def losses(seen):
    assert [point.step for point in seen.points] == list(range(1, RUN["max_steps"] + 1))
    return [point.loss for point in seen.points]


def test_a_worker_killed_at_any_moment_leaves_a_run_that_goes_on_to_the_same_losses(service, unbroken):
    draw = random.Random(4)
    resumed = 0
    for _ in range(KILLS):
        run_id = service.start(RUN)
        pulse = service.directory(run_id).path / "heartbeat.json"
        # Moments of the run, not of the clock: so they fall into its training on a machine of any speed.
        step = draw.randrange(RUN["max_steps"])
        wait_for(lambda path=pulse: path.exists())
        wait_for(lambda at=step, run=run_id: (seen := service.view(run)).step >= at or seen.ended)
        time.sleep(draw.uniform(0.0, 0.1))
        with contextlib.suppress(ProcessLookupError):  # done already
            os.kill(json.loads(pulse.read_text())["pid"], signal.SIGKILL)
        seen = wait_for_end(service, run_id)
        if seen.status == "finished":  # faster than the kill
            assert losses(seen) == pytest.approx(unbroken, abs=1e-4)
            continue
        assert seen.status == "failed" and "killed" in seen.error
        assert run_id in {one.run_id for one in service.list()}
        if not service.directory(run_id).checkpoints():
            assert "start it again" in seen.error
            continue
        assert "resume it" in seen.error and seen.adapter
        after = wait_for_end(service, service.start({"resume_from": run_id}))
        assert after.status == "finished"
        assert losses(after) == pytest.approx(unbroken, abs=1e-4)
        resumed += 1
    assert resumed


def test_a_studio_killed_at_any_moment_finds_its_run_again(settings, unbroken, tmp_path):
    """The worker belongs to itself: it goes on while nobody is there, and the next studio sees it."""
    from pipelines.data import lesson

    draw = random.Random(5)
    asked = {"pair": settings.pair, "runs": str(tmp_path / "runs"), "lesson": str(lesson.DIRECTORY), "config": RUN}
    own = Settings(pair=settings.pair, runs_dir=tmp_path / "runs", device="cpu")
    for _ in range(KILLS):
        studio = subprocess.Popen([sys.executable, "-c", STUDIO, json.dumps(asked)], stdout=subprocess.PIPE, text=True)
        assert studio.stdout is not None
        run_id = studio.stdout.readline().strip()
        time.sleep(draw.uniform(0.0, 2.0))
        studio.kill()
        studio.wait()
        after = FinetuneService(own, ModelManager(own))
        try:
            after.warm_up()
            assert after.view(run_id).status in ("queued", "running", "finished")
            assert losses(wait_for_end(after, run_id)) == pytest.approx(unbroken, abs=1e-4)
        finally:
            after.close()
    assert len(list((tmp_path / "runs").glob("*/config.json"))) == KILLS
