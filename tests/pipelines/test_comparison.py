"""Columns, the proof of the base, and merging, on random weights whose adapter changes every logit."""

from __future__ import annotations

import shutil

import pytest

from pipelines.comparison import measure_merge, prove_base, side_by_side
from pipelines.completion import Sampling, complete
from pipelines.errors import InputError
from pipelines.models import ModelManager
from tests.conftest import write_adapter

PROMPT = "What is the capital of France?"


@pytest.fixture
def manager(tiny_pair):
    runs = tiny_pair.base.parent / "runs"
    write_adapter(tiny_pair.base, runs / "one" / "adapter", 1)
    shutil.copytree(tiny_pair.instruct, runs / "full" / "model")
    return ModelManager(tiny_pair.settings)


def test_every_column_grows_and_ends(manager):
    seen = list(side_by_side(manager, PROMPT, ["base", "instruct", "run:one", "run:full"], Sampling(20)))
    assert [column.as_chat for column in seen[-1]] == [False, True, True, True]
    assert all(column.completion.stop_reason in ("eos", "length") for column in seen[-1])
    alone = list(complete(manager, PROMPT, "base", Sampling(20)))[-1]
    assert seen[-1][0].completion.text == alone.text


def test_a_model_that_cannot_answer_says_so_and_the_others_go_on(manager, tiny_pair):
    write_adapter(tiny_pair.base, tiny_pair.base.parent / "runs" / "biased" / "adapter", 1, bias="all")
    base, broken = list(side_by_side(manager, PROMPT, ["base", "run:biased"], Sampling(5)))[-1]
    assert base.completion.stop_reason and not base.error
    assert "trained biases" in broken.error


@pytest.mark.parametrize("models", [[], ["base"] * 9])
def test_no_or_too_many_models_are_refused(manager, models):
    with pytest.raises(InputError, match="models: "):
        next(side_by_side(manager, PROMPT, models, Sampling(5)))


@pytest.mark.parametrize("models", [["base"], ["instruct"]])
def test_an_empty_prompt_is_refused_for_all(manager, models):
    with pytest.raises(InputError, match="prompt: is empty"):
        next(side_by_side(manager, " ", models, Sampling(5)))


def test_closing_the_columns_returns_every_lease(manager):
    columns = side_by_side(manager, PROMPT, ["base", "run:one"], Sampling(100, 1.0))
    next(columns)
    next(columns)
    columns.close()
    assert all(resident.leases == 0 for resident in manager._shelf._residents.values())


def test_the_base_is_proven_to_be_the_base_while_adapters_are_attached(manager):
    with manager.lease("run:one") as lease, lease.active():
        pass
    proof = prove_base(manager, PROMPT)
    assert (proof.attached, proof.active, proof.largest_difference) == (1, (), 0.0)
    assert proof.logits > 1000


def test_the_proof_notices_a_base_that_was_changed(manager):
    import torch

    with manager.lease("base") as lease, torch.no_grad():
        lease.model.model.layers[0].mlp.down_proj.weight.add_(0.01)
    assert prove_base(manager, PROMPT).largest_difference > 0


def test_merging_keeps_the_logits_and_leaves_the_shared_base_alone(manager):
    report = measure_merge(manager, "run:one", PROMPT)
    assert 0 < report.largest_difference < 1e-3 * report.largest_logit
    assert report.rounded_difference > report.largest_difference
    assert report.same_tokens and report.tokens > 0
    assert report.adapter_bytes > 0 and report.merged_bytes > report.adapter_bytes
    assert report.unmerged_speed > 0 and report.merged_speed > 0
    assert prove_base(manager, PROMPT).largest_difference == 0


@pytest.mark.parametrize("name", ["base", "run:full"])
def test_only_an_adapter_can_be_merged(manager, name):
    with pytest.raises(InputError, match="has no adapter to merge"):
        measure_merge(manager, name, PROMPT)
