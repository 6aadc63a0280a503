"""A manager with runs of the tiny base."""

from __future__ import annotations

import pytest

from pipelines.models import ModelManager
from tests.conftest import TinyPair, write_adapter


@pytest.fixture
def studio(tiny_pair: TinyPair) -> ModelManager:
    """Three runs of the base: two of other ranks and targets, and one with DoRA, which shares no pass."""
    runs = tiny_pair.base.parent / "runs"
    write_adapter(tiny_pair.base, runs / "one" / "adapter", 1)
    write_adapter(tiny_pair.base, runs / "two" / "adapter", 2, r=2, target_modules=["q_proj", "v_proj"])
    write_adapter(tiny_pair.base, runs / "dora" / "adapter", 3, use_dora=True)
    return ModelManager(tiny_pair.settings)
