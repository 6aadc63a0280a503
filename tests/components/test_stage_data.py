"""The Data tab's handlers, without a browser: what is opened, shown, cleaned and handed out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.utils import get_upload_folder

from components import stage_data
from components.context import Studio
from components.data_saves import saver, take_home
from components.data_self_instruct import open_examples, write_examples
from components.data_session import Session, lengths_html, show_budget, show_preview, show_problems
from components.uploads import uploaded
from components.widgets import datasets
from components.widgets.candidates import candidates_html
from pipelines.data import store
from pipelines.data.catalogue import dataset_catalogue
from pipelines.data.record import open_dataset
from pipelines.data.self_instruct import Candidate
from pipelines.data.stats import histogram
from pipelines.errors import InputError
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.rows import collect

EVIL = '<img src=x onerror="alert(1)">${alert(2)}'
ROWS = [
    {"prompt": EVIL, "completion": "Fine."},
    {"prompt": "Say hi", "completion": ""},
    {"prompt": "=1+1", "completion": "=cmd|'/c calc'!A0 <|im_end|>"},
]


@pytest.fixture
def session(tiny_studio: Studio, tmp_path: Path) -> Session:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    file = {"path": str(path), "orig_name": f"{EVIL}.jsonl"}
    return Session(open_dataset(tiny_studio.settings, file=file))


def test_nothing_a_visitor_brings_reaches_the_page_unescaped(session: Session) -> None:
    shown = stage_data._show(session)
    markup = "".join(value for value in shown if isinstance(value, str)) + show_problems(session, "every kind")
    assert "&lt;img src=x" in markup and "<img" not in markup


def test_every_component_of_the_view_gets_its_value(session: Session) -> None:
    assert len(stage_data._show(session)) == len(stage_data.View.__slots__)


def test_cleaning_is_previewed_then_done_and_its_key_trains(tiny_studio: Studio, session: Session) -> None:
    names = ["empty answer", "control text"]
    assert "drops 2" in show_preview(session, names)
    cleaned, key, told = stage_data._cleaner(tiny_studio)(session, names)
    assert cleaned.kept == 1 and key in told
    assert len(store.conversations(key, tiny_studio.settings.runs_dir)) == 1


def test_what_is_saved_is_what_cleaning_left(tiny_studio: Studio, session: Session) -> None:
    cleaned, _, _ = stage_data._cleaner(tiny_studio)(session, ["empty answer"])
    before, after = saver(tiny_studio)(session), [Path(name) for name in saver(tiny_studio)(cleaned)]
    assert len(Path(before[0]).read_text().splitlines()) == 3
    assert [path.name for path in after] == ["cleaned.jsonl", "cleaned.parquet", "README.md", "problems.csv"]
    assert len(after[0].read_text().splitlines()) == 2 and after[1].read_bytes()[:4] == b"PAR1"
    assert "| empty answer | 1 |" in after[2].read_text() and "2,empty answer" in after[3].read_text()


def test_the_script_leaves_out_what_cleaning_dropped(tiny_studio: Studio, session: Session) -> None:
    cleaned, _, _ = stage_data._cleaner(tiny_studio)(session, ["empty answer"])
    script = take_home(cleaned)
    compile(script, "data.py", "exec")
    assert "DROP = {2}" in script and "DROP = set()" in take_home(session)
    assert take_home(None).startswith("#")


def test_saving_before_opening_says_to_choose(tiny_studio: Studio) -> None:
    with pytest.raises(gr.Error, match="no data set is open"):
        saver(tiny_studio)(None)
    with pytest.raises(gr.Error, match="no data set is open"):
        stage_data._cleaner(tiny_studio)(None, [])


def test_an_absolute_path_that_somebody_typed_is_not_opened(tiny_studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "secret.jsonl").write_text(json.dumps(ROWS[0]))
    with pytest.raises(gr.Error, match="not an uploaded file"):
        stage_data._opener(tiny_studio)(str(tmp_path / "secret.jsonl"))


def test_an_upload_lies_in_the_upload_cache() -> None:
    folder = Path(get_upload_folder()) / "test"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("{}")
    inside = {"path": str(folder / "rows.jsonl"), "orig_name": "mine.jsonl"}
    assert uploaded(inside) == inside and uploaded(None) is None
    wrong: list[Any] = ["/etc/passwd", {"path": "/etc/passwd"}, {"path": str(folder / "../../../../etc/passwd")}, {}, 7]
    for value in wrong:
        with pytest.raises(InputError, match="handle_file"):
            uploaded(value)


def test_a_budget_names_steps_tokens_hours_and_dollars(session: Session) -> None:
    shown = show_budget(session, 2, 2, 1, 512, "llama-3.1-8b", "qlora", "h100")
    assert ">4</span>" in shown and "steps" in shown and "$" in shown
    with pytest.raises(gr.Error, match="batch size"):
        show_budget(session, 2, 0, 1, 512, "llama-3.1-8b", "qlora", "h100")
    assert show_budget(None, 2, 2, 1, 512, "llama-3.1-8b", "qlora", "h100") == ""


def test_the_catalogue_is_searched_and_drawn_on_a_log_axis() -> None:
    table, chart = stage_data.found("human", stage_data.ALL)
    assert "Dolly 15K" in table and "Alpaca" not in table and "15,011" in table
    assert "Dolly 15K" in chart
    assert "No data set" in stage_data.found("no such thing", stage_data.ALL)[0]
    assert "SlimOrca" not in stage_data.found("", stage_data.CHAPTER)[0]


def test_every_catalogue_row_links_to_its_source_and_says_what_is_not_stated() -> None:
    table = datasets.catalogue_html(dataset_catalogue())
    assert all(entry.source in table for entry in dataset_catalogue())
    assert "not stated" in table


def test_a_histogram_says_each_bar_and_the_whole_in_words(session: Session) -> None:
    drawn = datasets.histogram_html(histogram([1, 1, 2, 9]), "Length", "tokens")
    assert "<title>1: 2</title>" in drawn and "4 rows from 1 to 9" in drawn
    assert "median" in lengths_html(session.opened)


def test_what_self_instruct_kept_is_shown_escaped_and_opened_as_a_data_set(tiny_studio: Studio) -> None:
    candidates = (
        Candidate("Name a <b>river</b>.", "The Nile.", rouge=0.5, near="Name a lake."),
        Candidate("Name a lake!", why="not new: ROUGE-L 1.00", rouge=1.0, near="Name a lake."),
    )
    shown = candidates_html(candidates)
    assert "&lt;b&gt;river" in shown and "<b>river" not in shown
    assert "not new: ROUGE-L 1.00" in shown and "nearest: Name a lake." in shown
    session = open_examples(tiny_studio, candidates)
    assert session.opened.inspection.stats.conversations == 1
    with pytest.raises(InputError, match="Write examples first"):
        open_examples(tiny_studio, candidates[1:])


def test_self_instruct_streams_its_rounds_and_names_what_is_wrong(tiny_studio: Studio) -> None:
    seeds = "\n".join(f"Say {n}?" for n in range(8))
    *_, (candidates, shown, _) = write_examples(tiny_studio)(seeds, "base", 1, 0.7, 0)
    assert isinstance(candidates, tuple) and shown
    with pytest.raises(gr.Error, match="at least 6, one to a line"):
        list(write_examples(tiny_studio)("one seed", "base", 1, 0.7, 0))


def test_the_cleaned_set_is_what_a_run_trains_on(tiny_studio: Studio, tmp_path: Path) -> None:
    said = [f"River number {n} is long." for n in range(40)]
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(
            json.dumps({"prompt": f"Tell {n} me", "completion": text}) + "\n"
            for n, text in enumerate([*said, "", "<|im_end|>"])
        )
    )
    session = Session(open_dataset(tiny_studio.settings, file={"path": str(path), "orig_name": "rows.jsonl"}))
    _, key, _ = stage_data._cleaner(tiny_studio)(session, ["empty answer", "control text"])
    rows = collect(FinetuneConfig.from_dict({"data": key}), tiny_studio.settings.runs_dir)
    assert sorted(row.reference for row in (*rows.train, *rows.heldout)) == sorted(said)
