"""The LoRA tab's experiments: truncation, the rebuilt model, the chapter's layer, merging and adding up."""

from __future__ import annotations

import math
import shutil
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.architecture.tensors import read_tensor, tensors
from pipelines.errors import InputError
from pipelines.lora.arithmetic import Arithmetic, arithmetic
from pipelines.lora.layer import LoRALinear, first_steps
from pipelines.lora.low_rank import matrices, weight_change
from pipelines.lora.rebuild import Rebuilder, heldout_rows, rebuild, truncate
from pipelines.models import ModelManager

R, ALPHA = 4, 8.0
WEIGHTS = (1.0, 0.5)


def matrix(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (16, 16)])
@pytest.mark.parametrize("r", [0, 1, 7, 16, 99])
def test_truncation_is_the_nearest_matrix_of_that_rank(shape: tuple[int, int], r: int) -> None:
    full = matrix(*shape).numpy()
    u, s, vt = np.linalg.svd(full, full_matrices=False)
    kept = min(r, len(s))
    assert truncate(full, r) == pytest.approx((u[:, :kept] * s[:kept]) @ vt[:kept], abs=1e-5)


def test_full_rank_is_the_tuned_model_and_rank_zero_has_the_bases_matrices(tiny_folders: Any) -> None:
    from transformers import AutoModelForCausalLM

    tuned = AutoModelForCausalLM.from_pretrained(tiny_folders.instruct)
    base = AutoModelForCausalLM.from_pretrained(tiny_folders.base).state_dict()
    for r, expected in ((10_000, {k: v.clone() for k, v in tuned.state_dict().items()}), (0, base)):
        model = AutoModelForCausalLM.from_pretrained(tiny_folders.instruct)
        rebuild(model, tiny_folders.base, r)
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                torch.testing.assert_close(parameter, expected[name], rtol=0, atol=1e-6)


def test_a_rank_is_measured_once_and_leaves_no_memory_behind(tiny_pair: Any) -> None:
    manager = ModelManager(tiny_pair.settings)
    rebuilder = Rebuilder(manager)
    before = manager.gauge().used
    point = rebuilder.measure(2)
    assert (point.r, point.rows) == (2, len(heldout_rows()))
    assert 0 <= point.accuracy <= 1
    assert rebuilder.measure(2) is point
    assert rebuilder.measure(99).r == rebuilder.full_rank() == 32
    assert [one.r for one in rebuilder.points()] == [2, 32]
    assert manager.gauge().used == before


def test_points_of_replaced_weights_are_forgotten(tiny_pair: Any) -> None:
    rebuilder = Rebuilder(ModelManager(tiny_pair.settings))
    rebuilder.measure(1)
    name = matrices(tiny_pair.base, tiny_pair.instruct)[0]
    changed = weight_change(tiny_pair.base, tiny_pair.instruct, name).relative
    shutil.copy(tiny_pair.base / "model.safetensors", tiny_pair.instruct / "model.safetensors")
    assert rebuilder.points() == ()
    assert changed > 0
    assert weight_change(tiny_pair.base, tiny_pair.instruct, name).relative == 0


@pytest.mark.parametrize("r", [-1, -5])
def test_a_rank_below_zero_is_refused(tiny_folders: Any, r: int) -> None:
    with pytest.raises(InputError, match=rf"Rank: {r} is not a rank\. Use a whole number from 0"):
        Rebuilder(ModelManager(tiny_folders.settings)).measure(r)


def test_the_questions_are_held_out_and_always_the_same() -> None:
    rows = heldout_rows()
    assert rows == heldout_rows()
    assert len(rows) == 128
    assert all(row.answers for row in rows)


def test_the_layer_computes_the_papers_sum() -> None:
    linear = torch.nn.Linear(6, 5)
    layer = LoRALinear(linear, r=2, alpha=4, std=1.0)
    x = matrix(3, 6)
    expected = linear(x) + 2.0 * x @ (layer.B @ layer.A).T
    torch.testing.assert_close(layer(x), expected)
    assert (layer.B.shape, layer.A.shape) == ((5, 2), (2, 6))
    assert [name for name, weight in layer.named_parameters() if weight.requires_grad] == ["A", "B"]


def test_as_listed_the_layer_changes_the_model_and_repaired_it_does_not(tiny_folders: Any) -> None:
    manager = ModelManager(tiny_folders.settings)
    base, loud, quiet, repaired = first_steps(manager, r=4, alpha=8)
    assert loud.difference > quiet.difference > 1e-3
    assert repaired.difference == 0.0
    assert (repaired.loss, repaired.next_token) == (base.loss, base.next_token)
    assert repaired.gradient_a == 0.0 < repaired.gradient_b
    assert loud.gradient_a > 0
    assert manager.gauge().used == 0


def added(rslora: bool, change: torch.Tensor) -> Arithmetic:
    return arithmetic(matrix(12, 20, 1), change, R, ALPHA, rslora, WEIGHTS)


@pytest.mark.parametrize("rslora", [False, True])
def test_sums_of_adapters_are_those_of_the_matrices(rslora: bool) -> None:
    """Everything again from the matrices alone, without PEFT."""
    change = matrix(12, 20)
    u, s, vt = (part.numpy() for part in torch.linalg.svd(change, full_matrices=False))
    one, two = ((u[:, at : at + R] * s[at : at + R]) @ vt[at : at + R] for at in (0, R))
    wanted = WEIGHTS[0] * one + WEIGHTS[1] * two
    # Both adapters' singular vectors are orthogonal, so the best rank R of the sum keeps its R largest values.
    values = np.sort(np.concatenate([WEIGHTS[0] * s[:R], WEIGHTS[1] * s[R : 2 * R]]))[::-1]
    svd = float(np.linalg.norm(values[R:]) / np.linalg.norm(values))
    # PEFT's "linear" multiplies √w₁A₁ + √w₂A₂ with √w₁B₁ + √w₂B₂: what is too much are the cross terms.
    roots = np.sqrt(s)
    (a1, a2), (b1, b2) = (
        [roots[at : at + R, None] * vt[at : at + R] for at in (0, R)],
        [u[:, at : at + R] * roots[at : at + R] for at in (0, R)],
    )
    cross = math.sqrt(WEIGHTS[0] * WEIGHTS[1]) * (b1 @ a2 + b2 @ a1)
    result = added(rslora, change)
    found = {one.method: one for one in result.combinations}
    assert found["cat"].unscaled == pytest.approx(0, abs=1e-5)
    assert found["svd"].unscaled == pytest.approx(svd, abs=1e-4)
    assert found["linear"].unscaled == pytest.approx(np.linalg.norm(cross) / np.linalg.norm(wanted), abs=1e-4)
    assert [found[method].rank for method in ("linear", "cat", "svd")] == [R, 2 * R, R]
    if rslora:  # PEFT 0.21 keeps use_rslora with alpha = rank: √r times too large
        assert found["cat"].error == pytest.approx(math.sqrt(2 * R) - 1, abs=1e-4)
    else:
        assert {one.error for one in result.combinations} == {one.unscaled for one in result.combinations}


@pytest.mark.parametrize("rslora, scaling, misread", [(False, 2.0, 1.0), (True, 4.0, 0.5)])
def test_merging_needs_the_scaling_it_was_trained_with(rslora: bool, scaling: float, misread: float) -> None:
    result = added(rslora, matrix(12, 20))
    assert result.scaling == scaling
    assert result.merged == pytest.approx(0, abs=1e-6)
    assert result.unscaled == pytest.approx(abs(1 / scaling - 1))
    assert result.misread == pytest.approx(misread)


def test_a_rewritten_file_has_other_places(tiny_pair: Any) -> None:
    import os

    name = matrices(tiny_pair.base, tiny_pair.instruct)[0]
    before = tensors(tiny_pair.base)[name]
    os.utime(tiny_pair.base / "model.safetensors", ns=(1, 1))
    assert tensors(tiny_pair.base)[name] != before
    assert (read_tensor(tensors(tiny_pair.base)[name]) == read_tensor(before)).all()
