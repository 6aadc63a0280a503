"""In which dtype a model runs, and how many bytes that is."""

from __future__ import annotations

import pytest

from pipelines.models import device as devices


@pytest.mark.parametrize(
    ("parameters", "units", "dtype"),
    [(4_262_912, True, "float32"), (1_700_000_000, True, "bfloat16"), (1_700_000_000, False, "float32")],
)
def test_a_cpu_computes_in_what_it_is_fast_in(monkeypatch, parameters, units, dtype):
    monkeypatch.setattr(devices, "computes_in_bf16", lambda device: units)
    chosen = devices.choose_dtype("cpu", parameters)
    assert str(chosen) == f"torch.{dtype}"
    assert devices.weight_bytes(parameters, "cpu") == parameters * chosen.itemsize
