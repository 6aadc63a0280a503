"""`/dataset`: what it answers, what it keeps under a key, and what it never opens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.data import store
from pipelines.data.catalogue import dataset_catalogue
from pipelines.data.record import dataset_record
from pipelines.data.store import conversations
from pipelines.errors import InputError
from pipelines.messages import as_dicts
from pipelines.settings import Settings

ASKED = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "data").mkdir()
    return Settings(runs_dir=tmp_path / "runs", data_dir=tmp_path / "data")


def upload(tmp_path: Path, name: str, *rows: Any) -> dict[str, str]:
    path = tmp_path / f"cache-{name}"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {"path": str(path), "orig_name": name}


def test_an_upload_is_described_and_its_key_leads_back_to_its_conversations(settings: Settings, tmp_path: Path) -> None:
    file = upload(tmp_path, "mine.jsonl", {"messages": ASKED}, {"messages": ASKED[:1]})
    record = dataset_record(settings, file=file)
    assert set(record) == {"key", "format", "rows", "messages", "problems", "stats"}
    assert record["format"] == "messages" and record["stats"]["rows"] == 2
    assert record["rows"][0] == {"messages": ASKED} and record["messages"][0] == ASKED
    assert [set(problem) for problem in record["problems"]] == [{"row", "what", "advice"}]
    assert record["problems"][0]["row"] == 2
    assert as_dicts(conversations(record["key"], settings.runs_dir)[0]) == ASKED
    json.dumps(record)


def test_the_same_data_has_the_same_key(settings: Settings, tmp_path: Path) -> None:
    first, second = (
        dataset_record(settings, file=upload(tmp_path, name, {"messages": ASKED})) for name in ("a.jsonl", "b.jsonl")
    )
    assert first["key"] == second["key"] != ""


@pytest.mark.parametrize("entry", dataset_catalogue(), ids=lambda entry: entry.key)
def test_every_catalogue_key_answers_offline(settings: Settings, entry: Any) -> None:
    record = dataset_record(settings, entry.key)
    assert (record["key"], record["format"]) == (entry.key, entry.format)
    assert record["stats"]["sample"] and record["messages"] and not record["problems"]
    assert conversations(entry.key, settings.runs_dir)


def test_limit_bounds_rows_and_messages_but_not_the_count(settings: Settings, tmp_path: Path) -> None:
    rows = [{"prompt": f"Say {number}", "completion": "Yes."} for number in range(30)]
    record = dataset_record(settings, file=upload(tmp_path, "many.jsonl", *rows), limit=7)
    assert len(record["rows"]) == len(record["messages"]) == 7 and record["stats"]["rows"] == 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "neither a source nor a file"),
        ({"source": "alpaca", "file": {"path": "x"}}, "both a source and a file"),
        ({"source": "alpca"}, "'alpca' is not known. Did you mean 'alpaca'?"),
        ({"source": "lesson", "split": "test"}, "split: 'test' is not known"),
        ({"source": "alpaca", "limit": -1}, "limit: -1 is not a number of rows"),
        ({"source": "alpaca", "limit": 10**6}, "from 0 to 1000"),
        ({"source": "owner/name"}, "'owner/name' is on the Hub, and this studio runs without it"),
        ({"file": "/etc/passwd"}, "a path was given"),
        ({"file": {"path": "/nowhere"}}, "no uploaded file"),
        ({"source": "../../etc/passwd"}, "is not known"),
        ({"source": "/etc/passwd"}, "is not known"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(settings: Settings, arguments: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        dataset_record(settings, **arguments)
    assert message in str(error.value)


def test_a_folder_that_looks_like_a_hub_id_is_not_read(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    (tmp_path / "owner" / "name").mkdir(parents=True)
    (tmp_path / "owner" / "name" / "secret.jsonl").write_text(json.dumps({"messages": ASKED}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(InputError, match="cannot be looked up on the Hub"):
        dataset_record(settings, "owner/name")


def test_files_of_the_data_directory_are_sources_by_name_and_links_out_of_it_are_not(
    settings: Settings, tmp_path: Path
) -> None:
    assert settings.data_dir is not None
    (settings.data_dir / "ours.jsonl").write_text(json.dumps({"messages": ASKED}))
    (tmp_path / "outside.jsonl").write_text(json.dumps({"messages": ASKED}))
    (settings.data_dir / "link.jsonl").symlink_to(tmp_path / "outside.jsonl")
    assert dataset_record(settings, "ours.jsonl")["format"] == "messages"
    for name in ("link.jsonl", "../outside.jsonl"):
        with pytest.raises(InputError, match="is not known"):
            dataset_record(settings, name)


def test_a_key_of_the_right_form_that_was_forgotten_says_so(settings: Settings) -> None:
    with pytest.raises(InputError, match="is no longer kept"):
        conversations("data-" + "0" * 20, settings.runs_dir)
    with pytest.raises(InputError, match="is not known"):
        conversations("data-../../x", settings.runs_dir)


def test_the_least_recently_used_are_forgotten(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_BYTES", 150)
    keys = []
    for number in range(3):
        asked = [{"role": "user", "content": f"{number}?"}, ASKED[1]]
        keys.append(dataset_record(settings, file=upload(tmp_path, f"{number}.jsonl", {"messages": asked}))["key"])
        path = store.find(settings.runs_dir, keys[-1])
        assert path is not None
        import os

        os.utime(path.path, (number, number))
    assert store.find(settings.runs_dir, keys[2]) and not store.find(settings.runs_dir, keys[0])
    assert not list((settings.runs_dir / store.FOLDER).glob("incoming-*"))
