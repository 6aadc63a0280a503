"""Text that attacks, in every field and every column: none of it runs, and none of it becomes an element."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest
from gradio_client import Client
from playwright.sync_api import Browser, Error, expect

from pipelines.stages import ASSETS, STAGES
from tests.browser.attacker import Attacker, attacking, unfold
from tests.browser.conftest import end_studio, start_studio
from tests.payloads import PAYLOADS, Attacked, frames, joined, made, unescaped
from tests.pipelines.remote.conftest import FakeServer, as_events, as_json, said, server, written  # noqa: F401

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NAMES = [name for text in PAYLOADS if 0 < len((name := text.replace("/", "").replace("\0", "")).encode()) <= 200]
# What a tab does with what was typed, where that takes seconds.
ACTIONS = {
    "problem": ["Ask both"],
    "sft": ["Draw the batch"],
    "data": ["Write examples", "Stop", "Clean", "Save files", "Use in Practice"],
    "templates": ["Ask under each"],
    "practice": ["Push to the Hub"],
    "base-vs-chat": ["Add", "Ask all"],
}


@dataclass(frozen=True, slots=True)
class Attackers:
    """Where the studio is, and the folders that it was given."""

    url: str
    runs: Path


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attackers]:
    """A studio whose directories of models and of data are full of payloads."""
    folder = tmp_path_factory.mktemp("attacked")
    models, data = folder / "models", folder / "data"
    shipped = ASSETS / "adapters" / "pocket-poet"
    config = json.loads((shipped / "adapter_config.json").read_text())
    data.mkdir()
    for number, name in enumerate(NAMES):
        adapter = models / name
        if number < 3:
            shutil.copytree(shipped, adapter)
        else:
            adapter.mkdir(parents=True)
        wrong = {"base_model_name_or_path": PAYLOADS[number], "peft_type": "LORA"}
        (adapter / "adapter_config.json").write_text(json.dumps(config if number < 3 else wrong))
        (adapter / "README.md").write_text(f"---\nlicense: {json.dumps(PAYLOADS[number])}\n---\n{joined()[0]}")
        (data / f"{name}.jsonl").write_text(json.dumps({"instruction": PAYLOADS[number], "output": "x"}) + "\n")
    process, url = start_studio(
        folder, "--models-dir", str(models), "--data-dir", str(data), "--allow-any-model", "--runs-dir", "runs"
    )
    yield Attackers(url, folder / "runs")
    assert end_studio(process) == 0


@pytest.fixture
def attacker(chromium: Browser) -> Iterator[Attacker]:
    with attacking(chromium) as attacker:
        yield attacker


def test_careless_pages_are_caught(chromium: Browser) -> None:
    """Without this the other tests would prove nothing: written unescaped, most payloads are noticed."""
    attacked, caught = Attacked(), set()
    context = chromium.new_context()
    attacked.watch(context)
    address, pages = "http://127.0.0.1/careless", [frames(map(unescaped, PAYLOADS)), frames([unescaped(joined()[0])])]
    context.route(
        f"{address}*", lambda route: route.fulfill(body=pages.pop(0), content_type="text/html; charset=utf-8")
    )
    page = context.new_page()
    page.goto(address)
    page.wait_for_timeout(3_000)
    for number, element in enumerate(page.query_selector_all("iframe")):
        inside = element.content_frame()
        if inside and made(inside):
            caught.add(number)
    alone = set(attacked.ran)
    attacked.ran.clear()
    page.goto(address)
    page.wait_for_timeout(3_000)
    context.close()
    together = set(attacked.ran)
    print(
        f"\nof {len(PAYLOADS)} payloads {len(alone)} ran and {len(caught - alone)} more made an element; "
        f"of all in one text {len(together)} ran; {len(set(attacked.outside))} addresses were asked for"
    )
    print("quiet", [PAYLOADS[n][:60] for n in range(len(PAYLOADS)) if n not in alone | caught])
    assert len(alone) > 40
    assert len(alone | caught) > 70
    assert len(together) > 20


@pytest.mark.parametrize("stage", [stage.key for stage in STAGES])
def test_no_field_runs_what_is_typed(attacker: Attacker, studio: Attackers, stage: str) -> None:
    page = attacker.open(f"{studio.url}/?tab={stage}")
    unfold(page, stage)
    attacker.settle(page)
    attacker.fields(page, stage)
    attacker.press(page, stage, ACTIONS.get(stage, []))
    assert attacker.tried


def test_no_link_runs_what_its_address_carries(attacker: Attacker, studio: Attackers) -> None:
    """Each part of a page's state, in the address."""
    plain = ["tab", "run", "room", "beat", "pace", "view", "prompt", "template", "model", "targets", "quant"]
    plain += ["architecture", "data", "r", "alpha", "__theme", "deep_link", "x"]
    for number, text in enumerate(joined(1_500)):
        turns = [{"role": text, "content": text, text: text}, {"role": "user", "content": text}]
        values = {name: text for name in plain} | {"messages": json.dumps(turns), text: text}
        page = attacker.open(f"{studio.url}/?{urlencode(values)}#{urlencode({text: text})}")
        attacker.tried += [f"link {number}: {name}" for name in values]
        attacker.look(page, f"link {number}")
        expect(page.locator(".room-open")).to_have_text("Room")
        for stage in STAGES if number == 0 else ():
            page.get_by_role("tab", name=stage.title, exact=True).click()
            attacker.settle(page)
            attacker.tried.append(f"link {number}: {stage.key}")
            attacker.look(page, attacker.tried[-1])
            if stage.key == "sft":
                unfold(page, "sft")
                attacker.press(page, "sft", ["Draw the batch"])
        page.close()


@pytest.mark.parametrize("path", ["?{}", "{}", "gradio_api/file={}", "gradio_api/info?{}", "rooms/{}", "healthz?{}"])
def test_no_address_of_the_studio_gives_a_payload_back_as_a_page(
    attacker: Attacker, studio: Attackers, path: str
) -> None:
    page = attacker.context.new_page()
    for text in joined(1_500):
        with contextlib.suppress(Error):  # what is answered may be a file to save
            page.goto(f"{studio.url}/{path.format(urlencode({'': text})[1:])}")
            page.wait_for_timeout(200)
            attacker.tried.append(path)
            attacker.look(page, path)


def data_files(folder: Path) -> list[Path]:
    """Payloads as cells, as names of columns, as roles, in JSON lines and CSV; and in the name of each file."""
    folder.mkdir()
    long = joined()[0]
    talk = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(PAYLOADS * 2)]
    tools = [{"role": "user", "content": long}, {"role": "assistant", "content": "", "tool_calls": [{long: long}]}]
    lines = {
        "messages": [{"messages": talk}, {"messages": tools}, *({"messages": talk[at : at + 2]} for at in range(107))],
        "alpaca": [{"instruction": text, "input": text, "output": text} for text in (long, *PAYLOADS, *PAYLOADS)],
        "roles": [{"messages": [{"role": text, "content": text}] * 2} for text in (long, *PAYLOADS)],
        "unknown": [dict.fromkeys((*PAYLOADS, "é\ud83d"), long)] * 3,
        "columns": [dict.fromkeys(("instruction", "output", *PAYLOADS), long)] * 3,
        "preference": [{"prompt": text, "chosen": text, "rejected": text + "!"} for text in (long, *PAYLOADS)],
        "sharegpt": [{"conversations": [{"from": text, "value": text}] * 2} for text in (long, *PAYLOADS)],
        "text": [{"text": text} for text in (long, *PAYLOADS)],
        "nothing": [long, [long], {"id": long}],
    }
    names, files = iter(NAMES), []
    for rows in lines.values():
        files.append(folder / f"{next(names)[:150]}.jsonl")
        files[-1].write_text("".join(json.dumps(row) + "\n" for row in rows))
    for head in (("instruction", "output"), PAYLOADS, (long, "output")):
        files.append(folder / f"{next(names)[:150]}.csv")
        with files[-1].open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow([cell.replace("\0", "") for cell in head])
            table.writerows([[text.replace("\0", "")] * len(head) for text in (long, *PAYLOADS)])
    files.append(folder / "broken.json")
    files[-1].write_text("[" + long)
    return files


def test_no_data_set_runs_what_it_holds(attacker: Attacker, studio: Attackers, tmp_path: Path) -> None:
    page = attacker.open(f"{studio.url}/?tab=data")
    panel = page.locator("#stage-data")
    for file in data_files(tmp_path / "files"):
        removed = panel.get_by_role("button", name="Clear").or_(panel.get_by_label("Remove this file"))
        for button in removed.all():
            if button.is_visible():
                button.click()
        panel.locator("input[type=file]").first.set_input_files(file)
        attacker.settle(page, 40.0)
        attacker.tried.append(f"file {file.name[:20]} {file.suffix}")
        attacker.look(page, attacker.tried[-1])
        page.get_by_label("Show problems of").click()
        attacker.look(page, attacker.tried[-1])
        page.keyboard.press("Escape")
        attacker.press(page, "data", ["Clean", "Save files", "Use in Practice"])
    choice = page.get_by_label("A data set", exact=True)
    choice.click()
    attacker.look(page, "the list of data sets")
    assert page.get_by_role("option").filter(has_text="attack").count() > 40
    for name in NAMES[:2]:
        choice.fill(f"{name}.jsonl")
        choice.press("Enter")
        attacker.settle(page)
        attacker.tried.append(f"data set of the directory {name[:20]}")
        attacker.look(page, attacker.tried[-1])
        expect(panel.locator(".data-pair").first).to_contain_text("instruction")


def test_no_adapter_runs_what_its_folder_is_called(attacker: Attacker, studio: Attackers) -> None:
    page = attacker.open(f"{studio.url}/?tab=base-vs-chat")
    panel = page.locator("#stage-base-vs-chat")
    panel.locator(".refused summary").click()
    assert panel.locator(".refused li").count() > 40
    people = panel.locator(".personalities input[type=checkbox]")
    for box in people.all()[-3:]:
        box.check()
    attacker.settle(page)
    attacker.press(page, "base-vs-chat", ["Ask all"])
    expect(panel.locator("#answers .answer").nth(4)).to_contain_text("attack")
    merge = panel.get_by_label("Merge an adapter")
    merge.click()
    attacker.look(page, "the list of adapters")
    page.get_by_role("option").filter(has_text="attack").first.click()
    attacker.press(page, "base-vs-chat", ["Merge"])
    page.get_by_role("checkbox", name="Blind vote").check()
    attacker.press(page, "base-vs-chat", ["Ask all"])
    panel.get_by_role("button", name="is best").first.click()
    attacker.settle(page)
    attacker.tried += ["names of adapters"] * 5
    attacker.look(page, "blind vote")
    expect(panel.locator("#blind-question")).to_contain_text("attack")


def test_no_run_runs_what_it_was_taught_and_no_room_who_takes_part(
    attacker: Attacker, studio: Attackers, chromium: Browser
) -> None:
    client = Client(studio.url, verbose=False)
    # The whole of an answer is written at each look, which takes as long as the longest is.
    short = [text for text in PAYLOADS if 0 < len(text.strip()) <= 40]
    pairs = [{"instruction": text, "response": short[at]} for at, text in enumerate(joined(1_500))]
    config = {"pairs": pairs, "max_steps": 2, "eval_steps": 2, "eval_rows": 4}
    run = client.predict(config=config, api_name="/finetune")["run_id"]
    page = attacker.open(f"{studio.url}/?tab=practice&run={run}")
    room = attacker.open(studio.url)
    room.locator(".room-open").click()
    room.get_by_role("button", name="Start a room").click()
    expect(room.locator(".room-invite .room-code")).not_to_be_empty()
    code = room.locator(".room-invite .room-code").inner_text()
    with attacking(chromium) as member:
        own = member.open(f"{studio.url}/?room={code}")
        expect(own.locator(".room-open")).to_have_text(f"Room {code}")
        own.locator(".room-open").click()
        expect(own.locator("#room-name")).to_be_visible()
        member.fields(own, "room")
        own.locator("#room-name").fill("<b data-attack>x</b>")
        own.locator("#room-name").press("Enter")
        own.evaluate("(run) => document.dispatchEvent(new CustomEvent('studio:run', {detail: {run}}))", run)
        deadline = time.monotonic() + 120
        while (state := client.predict(run_id=run, api_name="/run"))["status"] in ("queued", "running"):
            assert time.monotonic() < deadline, state
            time.sleep(0.5)
        expect(page.locator(".run-samples")).to_contain_text("after 2 steps")
        attacker.tried += ["what a run was taught", "leaderboard"]
        attacker.look(page, "practice: run")
        expect(room.locator(".room-board tbody")).to_contain_text("data-attack")
        attacker.look(room, "leaderboard")
        own.get_by_role("button", name="Leave").click()
        own.locator(".room-open").click()
        member.fields(own, "room")  # the code
    page.get_by_role("tab", name="Base vs Chat", exact=True).click()
    attacker.settle(page)
    attacker.look(page, "base-vs-chat: run")


@pytest.mark.parametrize("fails", [False, True])
def test_no_answer_of_a_model_runs(
    attacker: Attacker,
    server: FakeServer,  # noqa: F811
    tmp_path: Path,
    fails: bool,
) -> None:
    """A server whose models are called by payloads, and that writes nothing else, or fails with them."""
    names = [text for text in PAYLOADS if "," not in text and text.strip() == text and len(text) < 120][:24]
    likely = {text: -0.01 * (at + 1) for at, text in enumerate(PAYLOADS[:20])}
    server.answer("models", as_json({"object": "list", "data": [{"id": name} for name in names]}))
    server.answer("completions", as_events(*(written(text, likely=likely) for text in PAYLOADS), written("", "stop")))
    server.answer("chat/completions", as_events(*(said(text, likely=likely) for text in PAYLOADS), said("", "stop")))
    process, url = start_studio(tmp_path, "--endpoint", server.url, "--pair", ",".join(names[:2]))
    if fails:
        for path in ("completions", "chat/completions"):
            server.answer(path, as_json({"error": {"message": joined()[0]}}, 500))
    try:
        _ask_everywhere(attacker, url, fails)
    finally:
        assert end_studio(process) == 0


def _ask_everywhere(attacker: Attacker, url: str, fails: bool) -> None:
    page = attacker.open(f"{url}/?tab=problem")
    panel = page.locator("#stage-problem")
    page.get_by_label("Cross model and format").check()
    attacker.press(page, "problem", ["Ask both"])
    if not fails:
        expect(panel.locator(".generation")).to_have_count(4)
        expect(panel.locator(".generation").first).to_contain_text("attacked(1)")
        panel.locator(".written .piece[data-index]").nth(3).click()
        attacker.settle(page)
        panel.locator(".written .piece[data-index]").nth(4).hover()
        attacker.look(page, "a token's note")
    for stage, presses in (("templates", ["Ask under each"]), ("data", ["Write examples"])):
        page.get_by_role("tab", name=next(one.title for one in STAGES if one.key == stage), exact=True).click()
        unfold(page, stage)
        attacker.press(page, stage, presses)
    page.get_by_role("tab", name="Base vs Chat", exact=True).click()
    attacker.settle(page)
    for box in page.locator("#stage-base-vs-chat .personalities input[type=checkbox]").all()[:6]:
        box.check()
    attacker.press(page, "base-vs-chat", ["Ask all"])
    page.get_by_role("checkbox", name="Blind vote").check()
    attacker.press(page, "base-vs-chat", ["Ask all"])
    for stage in STAGES:
        page.goto(f"{url}/?beat={stage.key}.demonstration")
        page.locator("#presentation .beat").wait_for()
        attacker.settle(page, 10.0)
        attacker.look(page, f"lesson: {stage.key}")
    attacker.tried += ["answers"] * 16
    page.close()
