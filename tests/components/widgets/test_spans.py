from __future__ import annotations

import re

from components.widgets.spans import Piece, legend_html, pieces_html, shown, span_pieces
from pipelines.templates import Span

NASTY = "<img src=x onerror=alert(1)>\"'&"


def test_what_somebody_typed_never_becomes_markup() -> None:
    html = pieces_html([Piece(NASTY, role="user", note=NASTY, below=NASTY)], NASTY, whitespace=True)
    assert "<img" not in html
    assert html.count("&lt;img") == 6  # label, text, note, text and note as spoken, and the small text below


def test_an_unknown_role_is_drawn_without_becoming_a_class_name() -> None:
    html = pieces_html([Piece("hi", role='x" onclick="alert(1)')], "conversation")
    assert "role-other" in html and "onclick" not in html


def test_a_block_is_one_stop_of_the_tab_key() -> None:
    html = pieces_html([Piece("a"), Piece("b", note="one"), Piece("c", note="two")], "tokens")
    assert re.findall(r'tabindex="(-?\d)"', html) == ["0", "-1"]


def test_the_chosen_piece_is_where_the_tab_key_stops() -> None:
    html = pieces_html([Piece("a"), Piece("b"), Piece("c")], "tokens", pressable=True, chosen=2)
    assert re.findall(r'tabindex="(-?\d)"', html) == ["-1", "-1", "0"]
    assert re.findall(r'aria-pressed="(\w+)"', html) == ["false", "false", "true"]


def test_whitespace_is_drawn_on_demand_and_keeps_its_line_break() -> None:
    assert shown("a b\n") == "a b\n"
    assert shown("a b\n", whitespace=True) == 'a<i class="ws">·</i>b<i class="ws">↵</i>\n'


def test_a_newline_that_can_be_pressed_can_be_seen() -> None:
    assert "↵" in pieces_html([Piece("\n")], "tokens", pressable=True)


def test_control_spans_become_chips_and_content_keeps_its_role() -> None:
    text = "<|user|>Hi<|end|>"
    spans = [Span("user", "control", 0, 8, 0), Span("user", "content", 8, 10, 0), Span("user", "control", 10, 17, 0)]
    pieces = span_pieces(text, spans)
    assert [piece.text for piece in pieces] == ["<|user|>", "Hi", "<|end|>"]
    assert [(piece.role, piece.control) for piece in pieces] == [("control", True), ("user", False), ("control", True)]


def test_the_legend_names_the_roles_in_words() -> None:
    assert re.findall(r">(\w+)</span>", legend_html(["system", "user", "nobody"])) == ["system", "user"]
