"""What a run will take: more work takes longer, the measured prices are found again, and past runs correct it."""

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.architecture import architecture
from pipelines.finetune import measuring
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.measuring import LARGE, SMALL, WIDTHS, Machine, read_machine, write_machine
from pipelines.finetune.prediction import SAVING, Measured, Prediction, predict
from pipelines.finetune.preparing import prepare_run
from pipelines.finetune.rows import Row, Rows
from pipelines.finetune.run import RunDirectory, TrainedModel
from pipelines.finetune.shapes import Shapes, shapes_of
from pipelines.finetune.view import view
from pipelines.messages import Message
from pipelines.models import ModelManager
from pipelines.stages import ASSETS

POCKET = TrainedModel("pocket-base", str(ASSETS / "models" / "pocket-base"), "pocket-base", parameters=4_262_144)
SMOL = TrainedModel("smollm2-135m", "smollm2-135m", "smollm2-135m", parameters=134_515_008)
FLOPS, CALL = 20e9, 0.002  # of the machine below: FLOP/s, and seconds of the calls of one layer


def machine(**changes):
    """A machine of exactly these prices; bfloat16 is a hundred times slower, as on a CPU without units for it."""
    pocket = architecture("pocket-base")
    small, large = (
        CALL * pocket.dimensions.layers + 4 * pocket.parameters * rows * length / FLOPS
        for rows, length in (SMALL, LARGE)
    )
    made = Machine(
        device="cpu", host="here", cores=measuring.cores(), versions="", baseline=500 * 2**20, small=small, large=large,
        answering=0.12, products={"float32": [1e10, 2e10, 4e10, 4e10], "bfloat16": [1e8]},
    )  # fmt: skip
    return replace(made, host=measuring.socket.gethostname(), **changes)


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_machine(folder, machine())
    return folder


def shapes(model=POCKET, **changes):
    described = architecture("pocket-base" if model is POCKET else model.source)
    return replace(Shapes(30.0, 48, 68, 24, 8_528_384, described), **changes)


def predicted(runs_dir, model=POCKET, shape=None, **values):
    config = FinetuneConfig.from_dict(values).resolved(model.parameters, 2_000, 512)
    return predict(config, model, shape or shapes(model), runs_dir, "cpu")


def test_the_prices_of_the_machine_are_found_again(runs_dir):
    described = shapes().architecture
    one = predicted(runs_dir, batch_size=16)
    work = 4 * described.parameters * 16 * 30.0
    assert one.step == pytest.approx(CALL * described.dimensions.layers + work / FLOPS)
    assert one.look >= 24 * 0.12 / 12


@given(steps=st.integers(1, 5_000), more=st.integers(1, 5_000))
def test_more_steps_take_longer(runs_dir, steps, more):
    few, many = (predicted(runs_dir, max_steps=n, eval_steps=100_000) for n in (steps, steps + more))
    assert many.seconds > few.seconds
    assert many.memory == few.memory


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"batch_size": 4}, {"batch_size": 32}),
        ({"gradient_accumulation": 1}, {"gradient_accumulation": 4}),
        ({"eval_steps": 40}, {"eval_steps": 4}),
        ({"method": "lora"}, {"method": "full"}),
        ({}, {"objective": "dpo", "max_steps": 80, "eval_steps": 16}),
    ],
)
def test_more_work_takes_longer(runs_dir, less, more):
    assert predicted(runs_dir, **more).seconds > predicted(runs_dir, **less).seconds


def test_more_at_once_takes_more_memory(runs_dir):
    small = predicted(runs_dir, batch_size=4)
    assert predicted(runs_dir, batch_size=64).memory > small.memory
    assert predicted(runs_dir, batch_size=4, shape=shapes(longest=400)).memory > small.memory
    assert predicted(runs_dir, batch_size=4, method="full").memory > small.memory > 500 * 2**20
    assert "500 MiB" in small.counted


def test_a_larger_model_is_scaled_by_products_of_its_width_and_dtype(runs_dir):
    in_float32, in_bfloat16 = (predicted(runs_dir, SMOL, dtype=dtype, batch_size=4) for dtype in ("fp32", "bf16"))
    assert in_bfloat16.step > 20 * in_float32.step > 20 * predicted(runs_dir, batch_size=4).step
    assert "scaled" in in_float32.how
    assert in_bfloat16.memory < in_float32.memory
    assert WIDTHS[1] == 576


def test_without_a_measured_machine_only_memory_is_said(tmp_path):
    unknown = predicted(tmp_path)
    assert unknown.seconds is None and unknown.memory and "no step was timed" in unknown.how
    write_machine(tmp_path, machine(cores=999))
    assert read_machine(tmp_path) is None
    (tmp_path / ".machine.json").write_text("{")
    assert read_machine(tmp_path) is None


def _ended(runs_dir, slower, **values):
    """A run that took `slower` times what was counted for it."""
    run = RunDirectory.create(runs_dir)
    config = FinetuneConfig.from_dict(values).resolved(POCKET.parameters, 2_000, 512)
    counted = predict(config, POCKET, shapes(), runs_dir, "cpu")
    counted.write(run)
    run.configure(config, POCKET, "cpu")
    took = Measured(
        "cpu", machine().host, measuring.cores(), 600 * 2**20, 500 * 2**20, counted.start * slower,
        counted.step * 10 * slower, counted.look * 2 * slower, 10, 2,
    )  # fmt: skip
    run.append("measured", **asdict(took))
    return run


def test_runs_of_the_same_kind_correct_it(tmp_path):
    write_machine(tmp_path, machine())
    before = predicted(tmp_path)
    for slower in (2.0, 3.0, 10.0):
        _ended(tmp_path, slower)
    _ended(tmp_path, 50.0, method="full")
    after = predicted(tmp_path, batch_size=4)
    assert after.how == "the last 3 runs of this kind here"
    assert after.step < before.step  # still what is counted for this batch, uncorrected
    assert after.seconds - SAVING == pytest.approx(3.0 * (predicted_alone(batch_size=4) - SAVING), rel=1e-6)


def predicted_alone(**values):
    """Without any past run."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        write_machine(Path(folder), machine())
        return predicted(Path(folder), **values).seconds


def test_a_run_carries_its_prediction_and_shows_it_beside_what_was_measured(settings, small_lesson):
    write_machine(settings.runs_dir, machine())
    run = prepare_run(FinetuneConfig.from_dict({"max_steps": 4}), settings.runs_dir, ModelManager(settings), "cpu")
    kept = Prediction.of(run)
    assert kept.seconds > 0 and kept.memory > 500 * 2**20
    said = view(run).as_dict()["prediction"]
    assert said["seconds"] == kept.seconds and said["measured_seconds"] is None
    run.set_status("running")
    run.append("measured", **asdict(Measured("cpu", "here", 2, 7, 3, 1.0, 2.0, 3.0, 4, 1)))
    run.set_status("finished")
    said = view(run).as_dict()["prediction"]
    assert said["measured_memory_bytes"] == 7 and said["measured_seconds"] >= 0
    (run.path / "prediction.json").unlink()
    assert view(run).as_dict()["prediction"] is None


def test_lengths_are_those_of_the_rendered_rows(tiny_tokenizer):
    rows = Rows(tuple(_row(f"What is {n}?", "It is " + "so " * n) for n in range(1, 6)), ())
    model = TrainedModel("m", "nowhere/none", "m")
    exact = [
        len(
            tiny_tokenizer.apply_chat_template([{"role": m.role, "content": m.content} for m in row.messages])[
                "input_ids"
            ]
        )
        for row in rows.train
    ]
    found = shapes_of(FinetuneConfig(max_length=512), model, rows, lambda: tiny_tokenizer)
    assert found.longest == max(exact) and found.mean_length == sum(exact) / 5
    assert shapes_of(FinetuneConfig(max_length=8), model, rows, lambda: tiny_tokenizer).mean_length == 8

    def offline():
        raise OSError("not in the cache")

    guessed = shapes_of(FinetuneConfig(max_length=512), model, rows, offline)
    assert 0 < guessed.mean_length < 100


def _row(asked, said):
    return Row((Message("user", asked), Message("assistant", said)))


def test_the_peak_of_a_process_is_its_own():
    measuring.forget_peak()
    held = bytearray(64 * 2**20)
    held[::4096] = b"x" * len(held[::4096])
    with_it = measuring.peak_resident_bytes()
    del held
    assert measuring.peak_resident_bytes() >= with_it - 2**20
    assert with_it >= measuring.resident_bytes()


@pytest.mark.slow
def test_a_real_machine_can_be_measured():
    """Numbers that are possible: a larger step takes longer, and nothing takes no time."""
    found = measuring.measure_machine("cpu", lambda parameters: None)
    assert found.large > found.small > 0 and found.answering > 0 and found.baseline > 2**26
    assert found.here and len(found.products["float32"]) >= 1
    assert Machine(**json.loads(json.dumps(asdict(found)))) == found
