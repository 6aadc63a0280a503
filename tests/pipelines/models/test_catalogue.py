"""The rows of assets/models.json against what is counted, and against the templates they name."""

from __future__ import annotations

import json

import pytest

from pipelines.architecture import catalogue as architectures
from pipelines.models.catalogue import pairs
from pipelines.stages import ASSETS
from pipelines.templates import get_template

ROWS = {row["key"]: row for row in json.loads((ASSETS / "models.json").read_text(encoding="utf-8"))["pairs"]}

PROMISED = [
    "pocket", "smollm2-135m", "smollm2-360m", "smollm2-1.7b", "qwen2.5-0.5b", "qwen2.5-1.5b", "qwen2.5-3b",
    "qwen2.5-7b", "qwen3-0.6b", "qwen3-1.7b", "qwen3-4b", "qwen3-8b", "llama-3.2-1b", "llama-3.2-3b", "llama-3.1-8b",
    "gemma-2-2b", "gemma-2-9b", "gemma-3-1b", "olmo-2-1b", "olmo-2-7b", "olmo-2-13b",
]  # fmt: skip

# Where the two models of a pair were given different lengths, the row has the smaller; the shapes are the other's.
SHORTER_THAN_ITS_SHAPES = {"qwen2.5-1.5b": 131072, "qwen2.5-7b": 131072} | dict.fromkeys(
    ("qwen3-0.6b", "qwen3-1.7b", "qwen3-4b", "qwen3-8b"), 40960
)


def test_the_promised_pairs_are_there():
    assert set(PROMISED) <= ROWS.keys() and next(iter(ROWS)) == "pocket"


@pytest.mark.parametrize("key", ROWS)
def test_a_row_says_what_transformers_counts(key):
    row, shapes = ROWS[key], architectures.load(key)
    assert row["parameters"] == shapes.parameters
    assert SHORTER_THAN_ITS_SHAPES.get(key, row["context"]) == shapes.dimensions.context
    assert row["context"] <= shapes.dimensions.context
    if key != "pocket":
        assert shapes.hub_id in (row["base"], row["instruct"])


@pytest.mark.parametrize("pair", pairs(), ids=lambda pair: pair.key)
def test_a_pair_names_a_template_that_exists_and_says_whether_a_licence_has_to_be_accepted(pair):
    assert get_template(pair.instruct.template).key == pair.instruct.template
    for spec in (pair.base, pair.instruct):
        assert spec.license
        assert spec.gated == spec.source.startswith(("meta-llama/", "google/"))


def test_every_key_of_the_catalogue_is_one_model():
    specs = [spec for pair in pairs() for spec in (pair.base, pair.instruct)]
    assert len({spec.key for spec in specs}) == len({spec.source for spec in specs}) == len(specs)
