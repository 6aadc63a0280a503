"""The scripts of Base vs Chat: the Python one runs as it is, the command names every adapter."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from pipelines.models import ModelManager
from pipelines.serving_script import serving_command, swapping_script
from tests.conftest import write_adapter


@pytest.fixture
def manager(tiny_pair, tiny_tokenizer):
    for seed, name in enumerate(("one", "two")):
        folder = tiny_pair.base.parent / "runs" / name / "adapter"
        write_adapter(tiny_pair.base, folder, seed, r=20 * seed + 4)
        tiny_tokenizer.save_pretrained(folder)
    return ModelManager(tiny_pair.settings)


def test_the_script_runs_and_finds_the_base_unchanged(manager, tiny_pair):
    pair = manager.pair
    script = swapping_script(pair.base, pair.instruct, manager.runs(), 'It\'s a "prompt"\n{x}', 5)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tiny_pair.base.parent,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("--- ")] == [
        "--- base", "--- run-one", "--- run-two", "--- instruct",
    ]  # fmt: skip
    assert "largest logit difference of the base after all adapters: 0.0" in done.stdout


def test_without_a_run_the_script_has_base_and_instruct(manager):
    compile(swapping_script(manager.pair.base, manager.pair.instruct, [], "x", 5), "script", "exec")


def test_the_command_serves_every_adapter_with_a_rank_that_fits(manager):
    command = serving_command(manager.pair.base, manager.runs())
    assert "--lora-modules run-one=runs/one/adapter run-two=runs/two/adapter" in command
    assert "--max-lora-rank 32" in command  # ranks 4 and 24
    assert subprocess.run(["sh", "-n"], input=command, text=True, check=False).returncode == 0


def test_a_name_from_the_command_line_cannot_break_out_of_the_command(manager):
    evil = replace(manager.pair.base, source="x; rm -rf $HOME")
    assert "vllm serve 'x; rm -rf $HOME'" in serving_command(evil, [])
