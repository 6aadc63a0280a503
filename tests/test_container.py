"""The Dockerfile without Docker: its files, its variables, its command and its health check; and the Space."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from fnmatch import fnmatch
from pathlib import Path

import pytest
from gradio_client import Client

from pipelines.settings import parse_settings
from tests.browser.conftest import end_studio, free_port

ROOT = Path(__file__).resolve().parent.parent
STEPS = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
IGNORED = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]


def step(name: str) -> str:
    """What follows the last step of that name."""
    return next(line.partition(" ")[2] for line in reversed(STEPS) if line.startswith(name + " "))


def command(text: str) -> list[str]:
    found: list[str] = json.loads(text[text.index("[") :])
    return [sys.executable if word == "python" else word for word in found]


def variables() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in step("ENV").split())


def is_left_out(path: str) -> bool:
    parents = ["/".join(path.split("/")[: n + 1]) for n in range(path.count("/") + 1)]
    return any(
        fnmatch(part, rule.removeprefix("**/")) for rule in IGNORED for part in (*parents, *path.split("/")[-1:])
    )


def copied() -> list[str]:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for path in tracked.stdout.splitlines() if not is_left_out(path)]


def test_the_image_has_what_runs_and_the_weights_and_nothing_else() -> None:
    tops = {path.split("/")[0] for path in copied()}
    assert {"studio.py", "components", "pipelines", "assets", "requirements.txt", "README.md", "LICENSE"} <= tops
    assert tops.isdisjoint({"tests", "docs", ".git", "runs"})
    assert "assets/models/pocket-base/model.safetensors" in copied()


def test_the_container_listens_to_everybody_as_user_1000() -> None:
    settings = parse_settings([], variables())
    assert (settings.host, settings.port, settings.runs_dir) == ("0.0.0.0", int(step("EXPOSE")), Path("/data/runs"))
    user = step("USER")
    assert any(re.search(rf"useradd .*--uid 1000 {user}\b.*chown {user} /data", line) for line in STEPS)


def user_1000(own: tuple[Path, ...], test_folder: Path) -> dict[str, int]:
    """Give the folders to user 1000; skips where that user cannot reach this Python, which is in root's own home."""
    for folder in own:
        os.chown(folder, 1000, 1000)
    for folder in (test_folder, *list(test_folder.parents)[:3]):
        if folder.owner() == "root" and folder != Path(folder.anchor):
            folder.chmod(folder.stat().st_mode | 0o055)  # pytest's folders are for its own user alone
    try:
        subprocess.run([sys.executable, "-c", ""], user=1000, group=1000, check=True, timeout=60)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip(f"user 1000 may not run {sys.executable}: use an environment made by a Python of the system")
    return {"user": 1000, "group": 1000}


@pytest.mark.slow
def test_its_command_serves_and_its_health_check_agrees(tmp_path: Path) -> None:
    """The files belong to root and cannot be changed; /data and the port are this test's own."""
    home, data, app = tmp_path / "home", tmp_path / "data", tmp_path / "app"
    for path in copied():
        target = app / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, target)
    for folder in (home, data):
        folder.mkdir()
    as_user = user_1000((home, data), tmp_path) if os.getuid() == 0 else {}
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "HF_HUB_OFFLINE": "1"} | variables()
    environment |= {"STUDIO_PORT": str(free_port()), "STUDIO_RUNS_DIR": str(data / "runs")}
    log = (tmp_path / "log").open("w")
    studio = subprocess.Popen(
        command(step("CMD")), cwd=app, env=environment, stdout=log, stderr=subprocess.STDOUT, text=True, **as_user
    )
    try:
        check = command(step("HEALTHCHECK").partition("CMD ")[2])
        limit = time.monotonic() + 280
        while subprocess.run(check, env=environment, capture_output=True, check=False).returncode != 0:
            assert studio.poll() is None and time.monotonic() < limit, (tmp_path / "log").read_text()
            time.sleep(0.5)
        client = Client(f"http://127.0.0.1:{environment['STUDIO_PORT']}", verbose=False)
        answer = client.predict(prompt="The capital of France is", max_new_tokens=8, api_name="/complete")
        assert "Paris" in answer["text"]
        run = client.predict(config={"max_steps": 1, "batch_size": 2}, api_name="/finetune")["run_id"]
        while (status := client.predict(run_id=run, api_name="/run")["status"]) in ("queued", "running"):
            assert time.monotonic() < limit
            time.sleep(0.5)
        assert status == "finished" and (data / "runs" / run / "adapter" / "adapter_model.safetensors").is_file()
    finally:
        assert end_studio(studio) == 0
    assert subprocess.run(check, env=environment, capture_output=True, check=False).returncode != 0


def test_a_space_listens_to_everybody_unless_it_is_told_otherwise() -> None:
    assert parse_settings([], {"SPACE_ID": "ada/studio"}).host == "0.0.0.0"
    assert parse_settings([], {"SPACE_ID": "ada/studio", "STUDIO_HOST": "127.0.0.1"}).host == "127.0.0.1"
    assert parse_settings([], {}).host == "127.0.0.1"
    assert parse_settings([], {"SPACE_ID": "ada/studio"}).public and not parse_settings([], {}).public
    assert not parse_settings([], {"SPACE_ID": "ada/studio", "STUDIO_PUBLIC": "false"}).public


def test_the_spaces_front_matter_names_what_is_pinned_here() -> None:
    block = (ROOT / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    front = dict(re.findall(r'^(\w+): "?([^"\n]*)"?$', block, re.MULTILINE))
    assert front["sdk"] == "gradio" and (ROOT / front["app_file"]).is_file()
    assert f"gradio=={front['sdk_version']}\n" in (ROOT / "requirements.txt").read_text()
    assert f"FROM python:{front['python_version']}-slim" in STEPS
    assert len(front["short_description"]) <= 60  # the Hub refuses a longer one
