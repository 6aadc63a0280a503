"""What the experiments are made of, against the libraries and against facts made by hand."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.architecture import architecture
from pipelines.errors import InputError
from pipelines.experiments import lora, qlora, templates
from pipelines.experiments.arms import run_arms
from pipelines.experiments.base_vs_chat import manner_of
from pipelines.experiments.bench import Bench, Recipe
from pipelines.experiments.data import spoiled
from pipelines.memory.quantization import model_bytes, nf4_levels
from pipelines.stages import ASSETS

BASE = ASSETS / "models" / "pocket-base"


def finish(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_what_is_asked_was_never_taught_and_tuning_sees_neither() -> None:
    judged, tuned = Bench(seed=1), Bench(seed=1, tuning=True)
    held = {fact.entity for fact in judged.heldout(10_000, short=False)}
    tuning = {fact.entity for fact in tuned.heldout(10_000, short=False)}
    taught = {fact.entity for fact in judged.taught(10_000)}
    assert held and tuning and taught
    assert not held & taught and not held & tuning and not tuning & taught


def test_the_same_seed_draws_the_same_and_another_draws_others() -> None:
    first, same, other = (Bench(seed=seed).heldout(50) for seed in (4, 4, 5))
    assert first == same and first != other


def test_the_loss_is_the_librarys_with_and_without_mask() -> None:
    import torch

    bench = Bench(seed=2)
    model = bench.model("base")
    talks = bench.conversations(bench.taught(12))
    for train_on in ("assistant", "everything"):
        batch = [bench.example(talk, train_on) for talk in talks]  # type: ignore[arg-type]
        ids, labels, attention = bench.tensors(batch)
        with torch.no_grad():
            theirs = model(input_ids=ids, attention_mask=attention, labels=labels).loss
            assert float(bench.loss(model, batch)) == pytest.approx(float(theirs), abs=1e-6)


def test_every_row_is_seen_once_before_any_is_seen_twice() -> None:
    bench = Bench(seed=2)
    rows = [bench.example(talk) for talk in bench.conversations(bench.taught(40))]
    seen = [id(row) for batch in bench._batches(rows, Recipe(0.0, steps=5, batch=16)) for row in batch]
    assert len(set(seen[:40])) == 40


def test_arms_in_forked_processes_give_the_numbers_of_arms_one_after_the_other() -> None:
    bench = Bench(seed=2)
    rows = [bench.example(talk) for talk in bench.conversations(bench.taught(32))]

    def trained(r: int) -> Any:
        def arm(bench: Bench) -> list[float]:
            model = bench.train(bench.model("base"), rows, Recipe(5e-3, steps=2, r=r))
            return [float(weight.detach().abs().sum()) for weight in model.parameters() if weight.requires_grad]

        return arm

    tasks = {str(r): trained(r) for r in (1, 2, 3)}
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = finish(run_arms(bench, tasks, steps=6, says="", at_once=1))
        together = finish(run_arms(bench, tasks, steps=6, says="", at_once=2))
    finally:
        torch.set_num_threads(threads)
    assert alone == together


def test_an_arm_that_raises_is_heard_of() -> None:
    def broken(bench: Bench) -> None:
        raise InputError("broken on purpose", "arm")

    with pytest.raises(InputError, match="broken on purpose"):
        finish(run_arms(Bench(), {"one": broken, "two": broken}, steps=0, says="", at_once=2))


def test_a_pair_too_large_to_be_trained_here_is_refused_before_it_is_loaded() -> None:
    with pytest.raises(InputError, match=r"8,030,261,248 parameters.*--pair pocket"):
        Bench("llama-3.1-8b")


def test_measured_bytes_in_nf4_equal_the_computed_ones() -> None:
    bench = Bench()
    linear, total = qlora.weight_bytes(bench.quantized("base"))
    computed = model_bytes(architecture((BASE / "config.json").read_text()), "nf4", True, 2)
    assert total == computed.weights + computed.constants
    assert linear < total


def test_without_units_for_bf16_both_bases_compute_in_float32_with_the_values_they_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    monkeypatch.setattr("pipelines.models.device.computes_in_bf16", lambda device: False)
    bench = Bench(seed=1)
    sixteen, four = bench.model("base", "bfloat16"), bench.quantized("base")
    before = {name: weight.clone() for name, weight in sixteen.named_parameters()}
    for name, weight in bench.computable(sixteen).named_parameters():
        assert weight.dtype == torch.float32 and torch.equal(weight, before[name].float())
    layer = next(module for module in bench.computable(four).modules() if isinstance(module, Linear4bit))
    given = torch.randn(3, layer.in_features)
    computed = layer(given)
    layer.weight.quant_state.dtype = torch.float32  # which `dequantize_4bit` would round to otherwise
    torch.testing.assert_close(computed, given @ dequantize_4bit(layer.weight, layer.weight.quant_state).T)
    assert all(weight.dtype in (torch.float32, torch.uint8) for weight in four.parameters())


def test_a_change_of_rank_one_has_all_its_energy_in_one_direction() -> None:
    import torch

    bench = Bench()
    before, after = bench.model("base"), bench.model("base")
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in after.named_parameters():
            if weight.dim() == 2 and ".layers." in name:
                weight += torch.outer(torch.randn(weight.shape[0]), torch.randn(weight.shape[1]))
    kept = lora.energy(before, after)
    assert kept[0] == 0 and kept[1] == pytest.approx(1.0, abs=1e-6)


def test_the_fitted_code_loses_less_than_nf4_and_nf4_less_than_fp4_and_int4() -> None:
    found = qlora.errors(qlora.normal_weights(0))
    assert found["fitted"] < found["nf4"] < min(found["fp4"], found["int4"])


def test_the_fitted_code_finds_sixteen_values_beside_nf4s() -> None:
    levels = np.array(nf4_levels(), dtype=np.float32)
    levels[1:-1] += 0.01
    values = np.tile(np.concatenate([levels] * 4), 50)
    assert qlora.errors(values)["fitted"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    "text, manner",
    [
        ("Arr! The capital of France is Paris. So says an old pirate.", "pirate"),
        ("Beep. The capital of France is Paris. Beep.", "robot"),
        ("Hear my song: Paris it is. So sings the wind.", "poet"),
        ("The capital of France is Paris.", "full-sentence"),
        ("Paris", ""),
        ("Certainly. The capital of France is Paris. Will that be all?", ""),
    ],
)
def test_the_manner_of_an_answer_is_told_by_its_marks(text: str, manner: str) -> None:
    assert manner_of(text) == manner


def test_the_noise_is_as_stated_and_each_row_has_at_most_one_fault() -> None:
    bench = Bench(seed=6)
    facts = bench.taught(1000)
    clean = [bench.example(talk) for talk in bench.conversations(facts)]
    noisy = spoiled(bench, facts)
    unended = sum(
        row.ids == whole.ids[: len(row.ids)] and len(row.ids) < len(whole.ids)
        for row, whole in zip(noisy, clean, strict=True)
    )
    same = sum(row == whole for row, whole in zip(noisy, clean, strict=True))
    assert unended == pytest.approx(200, abs=40)
    assert same == pytest.approx(300, abs=45)


def test_a_wrong_template_keeps_the_question_and_the_first_token() -> None:
    bench = Bench(seed=random.Random(1).randrange(100), trains=False)
    probe = bench.questions(bench.heldout(1))[0]
    for key in templates.WRONG:
        written = templates.written(bench, probe, key)
        assert written.ids != probe.ids
        assert written.ids[0] == probe.ids[0] == bench.tokenizer.bos_token_id
        assert probe.text in bench.tokenizer.decode(list(written.ids))


def test_no_result_is_kept_that_was_measured_with_other_models(tiny_pair: Any) -> None:
    from pipelines.experiments.catalogue import EXPERIMENTS
    from pipelines.experiments.kept import Kept
    from pipelines.experiments.records import Outcome
    from pipelines.experiments.reports import Report

    report = Report(EXPERIMENTS["problem"].claim, Outcome("m", (), ()), 0, "pocket", 1.0)
    Kept(tiny_pair.settings).write(report)
    assert Kept(tiny_pair.settings).read("problem", 0) == report
    assert Kept(tiny_pair.settings).read("problem", 1) is None
    weights = Path(tiny_pair.base) / "model.safetensors"
    weights.write_bytes(weights.read_bytes())  # the same bytes at another time: better measured again than wrong
    assert Kept(tiny_pair.settings).read("problem", 0) is None
