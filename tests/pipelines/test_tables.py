"""CSV that a spreadsheet reads as it was, and runs nothing of."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.tables import csv_text, safe_cell
from tests.payloads import FORMULAS, PAYLOADS

RUN = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")  # what a formula begins with


@pytest.mark.parametrize("text", ["=cmd|'/c calc'!A0", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_cell_that_a_spreadsheet_would_run_is_defused(text: str) -> None:
    assert safe_cell(text) == f"'{text}"
    assert list(csv.reader(io.StringIO(csv_text(("name",), [(text,)]), newline="")))[1] == [f"'{text}"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_cell_is_run_wherever_a_spreadsheet_takes_it_to_begin(delimiter: str) -> None:
    """A German Excel ends a cell at a semicolon, and sees no quotation mark within one."""
    rows = [(text, f"x{text}", f"{text};{text}") for text in (*FORMULAS, *PAYLOADS)]
    text = csv_text(FORMULAS[:3], rows)
    quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    read = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting)
    assert [cell for row in read for cell in row if cell.startswith(RUN)] == []


def test_numbers_are_numbers_and_what_is_missing_is_empty() -> None:
    assert csv_text(("step", "loss"), [(0, None), (1, -0.5)]) == "step,loss\r\n0,\r\n1,-0.5\r\n"


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=("Cs",))), min_size=2, max_size=2)))
def test_what_is_written_is_read_back_but_for_the_apostrophes(rows: list[list[str]]) -> None:
    read = list(csv.reader(io.StringIO(csv_text(("a", "b"), rows), newline="")))
    assert read == [["a", "b"], *([safe_cell(cell) for cell in row] for row in rows)]
