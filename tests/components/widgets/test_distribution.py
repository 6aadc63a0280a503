from __future__ import annotations

import re

from components.widgets.distribution import distribution_html, percent
from components.widgets.generation import ending_html, generation_html
from components.widgets.spans import Piece
from pipelines.completion import GeneratedToken, TokenProbability

PARIS = TokenProbability(" Paris", 7, 0.75)
LYON = TokenProbability("<b>Lyon", 8, 0.15)


def test_bars_are_as_long_as_the_probabilities_and_the_rest_is_told() -> None:
    html = distribution_html([PARIS, LYON], "Next")
    assert re.findall(r"width:([\d.]+)%", html) == ["75.00", "15.00", "10.00"]
    assert "all others" in html and "<b>Lyon" not in html


def test_the_taken_token_is_marked_in_words() -> None:
    first, second, *_ = distribution_html([PARIS, LYON], "Next", chosen=1).split("</li>")
    assert "taken" in second and "taken" not in first


def test_every_row_can_be_pressed_when_asked() -> None:
    assert re.findall(r'data-index="(\d)"', distribution_html([PARIS, LYON], "Next", pressable=True)) == ["0", "1"]


def test_a_small_probability_is_not_shown_as_none() -> None:
    assert percent(0.0004) == "< 0.1 %" and percent(0.0) == "0.0 %" and percent(0.831) == "83.1 %"


def test_a_written_text_shows_what_was_given_and_each_token_as_a_button() -> None:
    tokens = [GeneratedToken(7, " Paris", 0.75, (PARIS,)), GeneratedToken(1, "<|end|>", 0.9, (), special=True)]
    html = generation_html([Piece("The capital of France is")], tokens, "answer", chosen=0)
    assert "The capital of France is" in html
    assert html.count('role="button"') == 2 and "75.0 % likely here" in html
    assert re.search(r'is-control[^>]*data-index="1"', html)


def test_an_ending_says_how_much_how_fast_and_why() -> None:
    assert "10 tokens · 20 tokens/s · stopped by itself" in ending_html(10, 0.5, "eos")
    assert "writing …" in ending_html(1, 0.5, None)
