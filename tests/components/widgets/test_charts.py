from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.widgets.charts import Bar, Part, Series, bar_chart, line_chart, number, ticks


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_within_the_axis_and_few(low: float, width: float) -> None:
    found = ticks(low, low + width)
    assert 2 <= len(found) <= 12
    slack = 1e-6 * max(1.0, abs(low), width)
    assert all(low - slack <= tick <= low + width + slack for tick in found)


def test_ticks_are_round_numbers() -> None:
    assert ticks(0, 87) == [0, 20, 40, 60, 80]
    assert ticks(0.001, 5, log=True) == [0.001, 0.01, 0.1, 1.0]


def test_a_curve_goes_from_corner_to_corner_of_its_fixed_axes() -> None:
    html = line_chart([Series("loss", [(0, 4), (10, 0)])], "Loss", x_range=(0, 10), y_range=(0, 4))
    assert 'points="0.0,0.0 1000.0,500.0"' in html


def test_a_chart_says_in_words_what_it_draws() -> None:
    html = line_chart([Series("loss", [(0, 4.0), (10, 0.5)])], "Training")
    assert 'aria-label="Training: loss from 4 to 0.5"' in html


def test_a_chart_without_points_still_has_its_axes() -> None:
    html = line_chart([Series("loss", [])], "Training", x_range=(0, 30))
    assert "nothing yet" in html and "tick-x" in html


def test_what_is_not_a_number_or_has_no_logarithm_is_left_out() -> None:
    html = line_chart([Series("loss", [(0, 1.0), (1, float("nan")), (2, 0.0), (3, 10.0)])], "Loss", log_y=True)
    (points,) = re.findall(r'points="([^"]+)"', html)
    assert len(points.split()) == 2


def test_stacked_parts_are_as_wide_as_their_share() -> None:
    html = bar_chart([Bar("full", [Part("weights", 25), Part("optimizer", 75)])], "Memory")
    assert re.findall(r"width:([\d.]+)%", html) == ["25.00", "75.00"]


def test_the_axis_reaches_as_far_as_the_marks() -> None:
    html = bar_chart([Bar("LoRA", [Part("weights", 16)])], "Memory", marks=[("H100", 80)])
    assert re.findall(r"width:([\d.]+)%", html) == ["20.00"]
    assert "left:100.00%" in html and "H100" in html


def test_a_stack_on_a_logarithmic_axis_is_refused() -> None:
    with pytest.raises(ValueError, match="do not add up"):
        bar_chart([Bar("a", [Part("x", 1), Part("y", 2)])], "t", log=True)


def test_names_are_escaped() -> None:
    assert "<b>" not in bar_chart([Bar("<b>", [Part("<b>", 1, "<b>")], "<b>")], "<b>", marks=[("<b>", 1)])
    assert "<b>" not in line_chart([Series("<b>", [(0, 1), (1, 2)])], "<b>", x_label="<b>")


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (12_000, "12,000"), (0.25, "0.25"), (3e-5, "3e-05")])
def test_numbers_are_written_as_people_read_them(value: float, text: str) -> None:
    assert number(value) == text
