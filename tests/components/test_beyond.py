from __future__ import annotations

from dataclasses import astuple

import pytest

from components.beyond import key_of
from pipelines.errors import InputError
from pipelines.experiments.own import Setting, read_key

A, B = astuple(Setting(r=8)), astuple(Setting(r=1, learning_rate=0.005))


def test_what_the_form_says_is_the_claim() -> None:
    assert read_key(key_of("cloze", *A, *B)) == (Setting(), Setting(r=1, learning_rate=0.005), "cloze")


@pytest.mark.parametrize(
    "at, value, says",
    [(1, None, "Rank r: a number is missing"), (3, 2.5, "Steps: 2.5 is not a whole number"), (4, 0, "rows: 0")],
)
def test_a_field_that_cannot_be_is_named(at: int, value: object, says: str) -> None:
    values = [*A]
    values[at] = value
    with pytest.raises(InputError, match=says):
        key_of("accuracy", *values, *B)
