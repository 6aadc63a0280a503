import pytest

from components.widgets.runs import curves_html, samples_html, status_html
from pipelines.finetune import FinetuneConfig, RunView
from pipelines.finetune.view import EvalPoint, Sample, StepPoint


def run_view(**changes):
    points = tuple(StepPoint(step, 3.0 / step, 1e-3, 0.5, 600 * step, 0.5 * step) for step in range(1, 9))
    values = {
        "run_id": "abcdef0123456789",
        "status": "running",
        "step": 8,
        "steps": 16,
        "seconds": 4.5,
        "points": points,
        "heldout": ((0, 4.0), (8, 1.0)),
        "evals": (EvalPoint(0, 4.0, 0.02, 0.0, None, 0.4), EvalPoint(8, 1.0, 0.75, 1.0, None, 4.4)),
        "samples": (Sample(0, "Why <b>?", ""), Sample(8, "Why <b>?", "Because <i>.")),
        "adapter": False,
        "error": "",
        "place": 0,
        "phase": "",
        "created": 0.0,
        "model_key": "tiny-base",
        "config": FinetuneConfig(),
    }
    return RunView(**values | changes)


def test_the_state_shows_step_accuracy_pace_and_rest():
    html = status_html(run_view())
    for part in ("8 / 16", "75%", "1,200", "4 s", "is-running"):
        assert part in html


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "queued", "place": 2, "wait": 41.2}, "waiting: second in line, about 41 s"),
        ({"status": "queued", "place": 1}, "waiting: next in line"),
        ({"status": "queued", "place": 12, "wait": 600.0}, "waiting: place 12 in line, about 10 min"),
        ({"phase": "loading the model", "points": (), "evals": ()}, "loading the model"),
        ({"status": "stopped"}, "what it had learned is kept"),
        ({"status": "failed", "error": "The worker was killed <9>."}, "killed &lt;9&gt;."),
    ],
)
def test_the_state_is_said_in_words(changes, said):
    assert said in status_html(run_view(**changes))


def test_the_axis_is_the_whole_run_from_the_start_so_that_nothing_jumps():
    assert "left:50.00%" in curves_html(run_view())  # step 8 of 16


def test_other_runs_are_drawn_over_it_under_their_own_names():
    html = curves_html(run_view(), [run_view(run_id="fedcba9876543210")])
    assert "training loss · abcdef" in html and "training loss · fedcba" in html


def test_smoothing_is_the_mean_of_the_steps_before():
    rough, smooth = (curves_html(run_view(), smoothing=steps) for steps in (1, 8))
    assert rough != smooth


def test_a_gap_in_the_losses_is_left_out():
    points = (StepPoint(1, None, 1e-3, None, 10, 0.1), StepPoint(2, 1.0, 1e-3, 0.5, 20, 0.2))
    assert "nan" not in curves_html(run_view(points=points))


def test_long_runs_are_thinned():
    points = tuple(StepPoint(step, 1.0, 1e-3, 0.5, step, float(step)) for step in range(1, 20_001))
    assert len(curves_html(run_view(points=points, steps=20_000))) < 60_000


def test_the_same_prompts_stand_side_by_side_for_every_checkpoint():
    html = samples_html(run_view())
    assert "before training" in html and "after 8 steps" in html
    assert "Why &lt;b&gt;?" in html and "Because &lt;i&gt;." in html and "<i>" not in html


def test_without_samples_there_is_no_table():
    assert samples_html(run_view(samples=())) == ""
