from __future__ import annotations

import pytest

from pipelines.errors import InputError
from pipelines.remote.events import MAX_LINE, Events


def parsed(*pieces: bytes) -> list[str]:
    events = Events()
    found = [data for piece in pieces for data in events.feed(piece)]
    return [*found, *events.rest()]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_of_the_standard_ends_a_line(end):
    stream = end.join([b"data: one", b"", b": a comment", b"event: x", b"id: 3", b"data: two", b"data:lines", b"", b""])
    assert parsed(stream) == ["one", "two\nlines"]


def test_pieces_may_be_cut_anywhere_even_inside_a_character():
    stream = "data: Grüße 🌍\r\n\r\ndata: b\r\n\r\n".encode()
    for size in (1, 2, 3, 5):
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        assert parsed(*pieces) == ["Grüße 🌍", "b"]


def test_a_last_event_without_its_blank_line_is_taken():
    assert parsed(b"data: one\n\ndata: two") == ["one", "two"]


def test_bytes_that_are_no_text_are_no_crash():
    assert parsed(b"data: \xff\xfe\n\n") == ["\ufffd\ufffd"]


def test_a_line_without_end_is_given_up():
    with pytest.raises(InputError, match="line without end"):
        parsed(b"data: ", *([b"x" * 2**20] * (MAX_LINE // 2**20 + 1)))
