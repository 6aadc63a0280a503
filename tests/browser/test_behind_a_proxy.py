"""The studio under a sub-path of somebody else's site, behind nginx set up as docs/deployment.md says."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import ROOT, Witness, end_studio, free_port, start_studio

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PATIENCE = 60_000  # milliseconds; the first answer may have to wait for the models
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/bin")


def location_block() -> str:
    """The block that the documentation tells people to use."""
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    found = re.search(r"```nginx\n(.*?)```", text, re.DOTALL)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the studio on the site: `http://127.0.0.1:…/studio/`."""
    if NGINX is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    folder, port = tmp_path_factory.mktemp("site"), free_port()
    process, address = start_studio(folder, GRADIO_ROOT_PATH="/studio")
    server = start_nginx(folder, port, location_block().replace("http://127.0.0.1:7860", address))
    yield f"http://127.0.0.1:{port}/studio/"
    server.terminate()
    server.wait(timeout=30)
    assert end_studio(process) == 0


def start_nginx(folder: Path, port: int, block: str) -> subprocess.Popen[bytes]:
    temporary = "".join(
        f"  {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\n  access_log off;\n{temporary}"
        f"  server {{\n    listen 127.0.0.1:{port};\n"
        f"    location = / {{ default_type text/plain; return 200 'another site'; }}\n"
        # Browsers ask every site for this one by themselves.
        f"    location = /favicon.ico {{ return 204; }}\n{block}  }}\n}}\n"
    )
    server = subprocess.Popen(
        [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", f"{folder}/error.log"]
    )
    for _ in range(100):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
            return server
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    server.kill()
    raise AssertionError((folder / "error.log").read_text())


@pytest.fixture
def page(chromium: Browser, site: str) -> Iterator[Page]:
    """A page that may ask nothing of the site outside of `/studio/`, and must not complain."""
    witness, asked = Witness(), list[str]()
    context = chromium.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    witness.watch(page)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site)
    page.get_by_role("tab", name="Base vs Chat", exact=True).wait_for()
    yield page
    context.close()
    assert witness.outside == [] and witness.errors == []
    assert [url for url in asked if url.startswith("http") and not url.startswith(site)] == []


def test_a_prompt_is_answered_and_a_link_to_a_tab_is_kept(page: Page, site: str) -> None:
    page.goto(f"{site}?tab=problem")
    page.get_by_label("Prompt", exact=True).fill("What is the capital of France?")
    page.get_by_role("button", name="Ask both").click()
    for key in ("base-raw", "instruct-chat"):
        expect(page.locator(f".cell-{key}").first).to_contain_text(
            re.compile("stopped by itself|cut off"), timeout=PATIENCE
        )
    page.get_by_role("tab", name="LoRA", exact=True).click()
    expect(page).to_have_url(f"{site}?tab=lora")


def test_what_follows_an_input_is_asked_under_the_path(page: Page, site: str) -> None:
    page.goto(f"{site}?tab=lora")
    panel = page.locator("#stage-lora")
    with page.expect_request(f"{site}gradio_api/run/predict"):
        panel.get_by_role("slider").first.press("ArrowRight")


def test_what_gradio_serves_as_a_file_comes_through(page: Page, site: str) -> None:
    """A run trained from under the path, its adapter packed by the studio and fetched through the proxy."""
    client = Client(site, verbose=False)
    run = client.predict(config={"max_steps": 2, "batch_size": 2}, api_name="/finetune")["run_id"]
    deadline = time.monotonic() + 100
    while client.predict(run_id=run, api_name="/run")["status"] not in ("finished", "failed"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    with zipfile.ZipFile(client.predict(run_id=run, tool="adapter", api_name="/export")) as packed:
        assert any(name.endswith("adapter_model.safetensors") for name in packed.namelist())
    page.goto(f"{site}?tab=practice&run={run}")
    expect(page.locator("#stage-practice")).to_contain_text(re.compile("finished", re.IGNORECASE), timeout=PATIENCE)


def test_a_client_sees_an_answer_grow(site: str) -> None:
    client = Client(site, verbose=False)
    for seed in range(1, 9):  # at this temperature some answers are long
        begin, arrivals = time.perf_counter(), list[float]()
        for _ in client.submit(prompt="The", temperature=2.0, max_new_tokens=480, seed=seed, api_name="/complete"):
            arrivals.append(time.perf_counter() - begin)
        if len(arrivals) > 10 and arrivals[0] < 0.5 * arrivals[-1]:
            return
    raise AssertionError("every answer came as a whole")


def test_an_upload_and_a_link_without_its_slash_come_through(site: str, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"instruction": "Say hello.", "output": "Hello."}\n' * 30_000)  # nginx takes 1 MiB unless told
    client = Client(site, verbose=False)
    assert client.predict(file=handle_file(str(rows)), api_name="/dataset")["format"] == "alpaca"
    with urllib.request.urlopen(site.rstrip("/"), timeout=30) as answer:
        assert answer.url == site and b"The fine-tuning studio" in answer.read()
