"""The handlers of the Practice tab, called without a browser and with doubles in place of workers."""

from types import SimpleNamespace

import gradio as gr
import pytest

from components import app
from components.practice_form import Form, config_of
from components.practice_saves import OFFERED, saver, script_writer
from components.stage_practice import choices, lister, predicter, resumer, shower, starter, stopper
from pipelines.errors import InputError
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.exports import TOOLS
from tests.components.widgets.test_runs import run_view

DEFAULTS = {
    "model": "base",
    "objective": "sft",
    "method": "lora",
    "data": "lesson",
    "pairs": [["", ""], ["", ""]],
    "r": 16,
    "lora_alpha": 32,
    "target_modules": "all-linear",
    "learning_rate": None,
    "max_steps": None,
    "batch_size": None,
    "gradient_accumulation": 1,
    "max_length": None,
    "scheduler": "linear",
    "train_on": "assistant",
    "template": "",
    "dtype": "auto",
    "eval_steps": None,
    "beta": 0.1,
    "seed": 0,
    "report_to": False,
}


class Runs:
    """A service with one run, which remembers what it was asked."""

    def __init__(self):
        self.run, self.started, self.stopped = run_view(), [], []

    def start(self, config, visitor=""):
        FinetuneConfig.from_dict(config)
        self.visitor = visitor
        self.started.append(config)
        return self.run.run_id

    def stop(self, run_id):
        self.stopped.append(run_id)
        self.run = run_view(status="stopped")

    def view(self, run_id):
        if run_id != self.run.run_id:
            raise InputError(f"there is no run '{run_id}'", "run_id")
        return self.run

    def list(self):
        return [self.run]


@pytest.fixture
def studio():
    return SimpleNamespace(runs=Runs())


def test_the_form_has_a_field_for_each_of_its_keys():
    assert set(Form.names()) == set(DEFAULTS)
    assert FinetuneConfig.from_dict(config_of(Form.names(), [DEFAULTS[name] for name in Form.names()]))


def test_empty_fields_are_left_to_the_model_and_empty_rows_left_out():
    values = DEFAULTS | {"pairs": [["Who?", "You."], ["", ""], [None, None], []]}
    config = config_of(Form.names(), [values[name] for name in Form.names()])
    assert config["pairs"] == [{"instruction": "Who?", "response": "You."}]
    assert "learning_rate" not in config and "max_steps" not in config


def test_the_box_of_trackio_is_a_setting():
    assert config_of(Form.names(), [DEFAULTS[name] for name in Form.names()])["report_to"] == "none"
    values = DEFAULTS | {"report_to": True}
    assert config_of(Form.names(), [values[name] for name in Form.names()])["report_to"] == "trackio"


def test_a_half_filled_pair_is_said_at_once(studio):
    values = DEFAULTS | {"pairs": [["Who?", ""]]}
    with pytest.raises(gr.Error, match="number 1 has an empty side"):
        starter(studio)(None, *[values[name] for name in Form.names()])


def test_a_row_with_one_cell_is_half_filled(studio):
    values = DEFAULTS | {"pairs": [["Who?"]]}
    with pytest.raises(gr.Error, match="number 1 has an empty side"):
        starter(studio)(None, *[values[name] for name in Form.names()])


def test_start_shows_the_run_it_started(studio):
    shown = starter(studio)(None, *[DEFAULTS[name] for name in Form.names()])
    assert shown.value == studio.runs.run.run_id and len(studio.runs.started) == 1


def test_a_run_is_its_visitors(studio):
    request = gr.Request(session_hash="abc")
    starter(studio)(request, *[DEFAULTS[name] for name in Form.names()])
    assert studio.runs.visitor == "abc"
    resumer(studio)(studio.runs.run.run_id, request)
    assert studio.runs.visitor == "abc"


def test_resume_asks_for_the_run_shown(studio):
    resumer(studio)(studio.runs.run.run_id)
    assert studio.runs.started == [{"resume_from": studio.runs.run.run_id}]


def test_stop_stops_the_run_shown(studio):
    assert "stopped" in stopper(studio)(studio.runs.run.run_id)
    with pytest.raises(gr.Error, match="no run is shown"):
        stopper(studio)("")


def test_a_running_run_is_looked_at_again_and_an_ended_one_is_not(studio):
    status, curves, samples, timer, stop, resume, _ = shower(studio)(studio.runs.run.run_id, [], 1, False, ())
    assert "8 / 16" in status and "polyline" in curves and "before training" in samples
    assert timer.active and stop.interactive and not resume.interactive
    studio.runs.run = run_view(status="failed", error="The worker was killed.")
    *_, timer, stop, resume, _ = shower(studio)(studio.runs.run.run_id, [], 1, False, ())
    assert not timer.active and not stop.interactive and resume.interactive


def test_what_has_not_changed_is_not_drawn_again(studio):
    show = shower(studio)
    first = show(studio.runs.run.run_id, [], 1, False, ())
    status, curves, samples, *_ = show(studio.runs.run.run_id, [], 1, False, first[-1])
    assert "8 / 16" in status and curves == samples == gr.skip()
    _, curves, samples, *_ = show(studio.runs.run.run_id, [], 5, False, first[-1])
    assert "polyline" in curves and samples == gr.skip()


@pytest.mark.parametrize("run_id", ["", None])
def test_without_a_run_there_is_an_invitation(studio, run_id):
    assert "Press Start" in shower(studio)(run_id, [], 1, False, ())[0]


def test_a_link_to_a_run_that_is_gone_is_no_error(studio):
    status, curves, *_ = shower(studio)("0" * 16, None, 1, False, ())
    assert "not in this studio any more" in status and curves == ""


def test_past_runs_are_offered_by_title_and_state(studio):
    assert choices(studio) == [("tiny-base · lora r=16 · lesson · abcdef", studio.runs.run.run_id)]
    run, over = lister(studio)(None)
    assert run.choices == over.choices
    studio.runs.run = run_view(status="failed", error="The worker was killed.")
    assert choices(studio)[0][0].endswith("abcdef · failed")


def test_downloads_need_a_run(studio):
    with pytest.raises(gr.Error, match="no run is shown"):
        saver(studio, "adapter")("")


def test_every_tool_has_a_button(tiny_studio):
    page = app.build(tiny_studio)
    values = {getattr(block, "value", None) for block in page.blocks.values() if isinstance(block, gr.Button)}
    assert {f"Download {title}" for _, title, _ in OFFERED} <= values
    assert tuple(tool for tool, _, _ in OFFERED) == TOOLS


def test_the_form_says_what_it_would_take(tiny_studio):
    said = predicter(tiny_studio)(*[DEFAULTS[name] for name in Form.names()], "")
    assert "Predicted: time" in said and "MiB" in said


def test_the_script_follows_the_form(tiny_studio):
    values = DEFAULTS | {"data": "alpaca", "r": 4, "max_steps": 7}
    script = script_writer(tiny_studio)(*[values[name] for name in Form.names()])
    assert "r=4," in script and "max_steps=7," in script


def test_the_tab_is_on_the_page(tiny_studio):
    page = app.build(tiny_studio)
    labels = {getattr(block, "label", None) for block in page.blocks.values()}
    assert {"Run shown", "Method", "Learning rate"} <= labels
