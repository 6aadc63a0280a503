"""JSON that somebody sends is read, or refused as a ValueError."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.untrusted_json import read_json


@given(st.text() | st.binary())
def test_it_reads_and_refuses_what_json_does(text: str | bytes) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError):
            read_json(text)
    else:
        assert repr(read_json(text)) == repr(expected)  # NaN is not equal to itself


@pytest.mark.parametrize("text", ["[" * 2_000, b'{"a":' * 100_000])
def test_what_is_nested_too_deeply_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(text)
