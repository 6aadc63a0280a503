"""What is taken home: Parquet, CSV, card and script; the script is run."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.data.catalogue import dataset_catalogue, sample_rows
from pipelines.data.export import data_card, problems_csv, write_parquet
from pipelines.data.inspection import inspect
from pipelines.data.records import Kind, Problem, RawRow
from pipelines.data.script import cleaning_script, ranges


def test_parquet_holds_the_conversations_and_everything_else_as_json(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]}
    rows = [
        {"messages": [{"role": "user", "content": "é"}, {"role": "assistant", "content": "b", "weight": 1}], "id": 7},
        {"messages": [{"role": "user", "content": "a"}, call]},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert write_parquet(tmp_path / "in.jsonl", tmp_path / "out.parquet") == 2
    first, second = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert first["messages"][0] == {"role": "user", "content": "é"}
    assert json.loads(first["extra"]) == {"id": 7, "turns": [{}, {"weight": 1}]}
    assert json.loads(second["tool_calls"][1]) == call["tool_calls"]


def test_the_problems_as_csv_have_a_line_each_with_what_to_do() -> None:
    rows = list(csv.DictReader(problems_csv([Problem(1, Kind.EMPTY, "nothing, at all", "take it out")]).splitlines()))
    assert [(row["row"], row["what"], row["advice"]) for row in rows] == [("1", "nothing, at all", "take it out")]


def test_the_card_is_a_card_of_the_hub_and_names_what_was_dropped() -> None:
    card = data_card("My | data\n# x", "alpaca", 100, 90, {"empty answer": 10}, [("Median", "7")], None)
    _, head, body = card.split("---", 2)
    parsed = yaml.safe_load(head)
    assert parsed["size_categories"] == ["n<1K"] and parsed["pretty_name"] == "My | data\n# x, cleaned"
    assert "| empty answer | 10 |" in body and "My \\| data # x" in body


def test_a_name_is_no_markup_of_the_card() -> None:
    name = "<img src=x> ![a](//elsewhere/a.png) [b](javascript:c) `d`"
    body = data_card(name, "alpaca", 1, 1, {name: 1}, [(name, name)], name).split("---", 2)[2]
    assert body.count(r"&lt;img src=x> !\[a\](//elsewhere/a.png) \[b\](javascript:c) \`d\`") == 5
    assert not [mark for mark in ("<", "![", " [b") if mark in body]


def test_ranges_are_the_same_set() -> None:
    numbers = [*range(1, 5), 9, 11, 12, *range(20, 900, 3)]
    assert eval(ranges(numbers)) == set(numbers)
    assert max(map(len, ranges(numbers).splitlines())) < 120


def test_a_name_cannot_break_out_of_the_script() -> None:
    script = cleaning_script('x"""\nimport os\n"""', "messages", "json", 'a"\nimport os\n.jsonl', [])
    compile(script, "data.py", "exec")
    assert "\nimport os\n" not in script


WITH_ROWS = [entry for entry in dataset_catalogue() if entry.format != "openassistant"]


@pytest.mark.parametrize("entry", WITH_ROWS, ids=lambda entry: entry.key)
def test_the_scripts_conversion_equals_ours(tmp_path: Path, entry: Any) -> None:
    """Without `datasets`: the loader's line is replaced by the rows, everything else runs as it stands."""
    rows = sample_rows(entry.key)
    inspect((RawRow(number, row) for number, row in enumerate(rows, 1)), "x", tmp_path / "ours.jsonl")
    script = cleaning_script("x", entry.format, "json", "rows.jsonl", [2])
    lines = script.replace("from datasets import load_dataset\n", "").splitlines()
    lines = [f"rows = {rows!r}" if line.startswith("rows = ") else line for line in lines]
    folder = os.getcwd()
    os.chdir(tmp_path)
    try:
        exec(compile("\n".join(lines), "data.py", "exec"), {})
    finally:
        os.chdir(folder)
    written = [json.loads(line)["messages"] for line in (tmp_path / "cleaned.jsonl").read_text().splitlines()]
    ours = [json.loads(line)["messages"] for line in (tmp_path / "ours.jsonl").read_text().splitlines()]
    plain = [[(turn["role"], turn["content"]) for turn in turns] for turns in ours]
    assert [[(turn["role"], turn["content"]) for turn in turns] for turns in written] == [plain[0], *plain[2:]]


@pytest.mark.slow
def test_the_script_runs_as_it_is(tmp_path: Path) -> None:
    rows = [{"instruction": f"Say {word}", "input": "", "output": word} for word in ("one", "two", "three")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "data.py").write_text(cleaning_script("x", "alpaca", "json", "rows.jsonl", [2]))
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "data.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "2 conversations in cleaned.jsonl\n", done.stderr
