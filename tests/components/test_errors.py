from __future__ import annotations

import inspect
from collections.abc import Iterator

import gradio as gr
import pytest

from components.errors import shows_input_errors, tells_input_errors
from pipelines.errors import InputError


@shows_input_errors
def plain(r: int) -> int:
    """Halve."""
    if r % 2:
        raise InputError(f"{r} is odd", "r", "Use an even number.")
    return r // 2


@shows_input_errors
def streaming(r: int) -> Iterator[int]:
    yield 0
    yield plain(r)


def test_an_input_error_is_shown_with_its_own_text() -> None:
    with pytest.raises(gr.Error) as raised:
        plain(3)
    assert raised.value.message == "r: 3 is odd. Use an even number."


def test_what_a_person_typed_is_no_markup_of_the_message_and_a_program_gets_it_as_it_was() -> None:
    def handler(model: str) -> None:
        raise InputError(f"'{model}' is not known", "model", "Use base & co.")

    typed = '<img src="//attack.invalid/1.png">'
    with pytest.raises(gr.Error) as shown:
        shows_input_errors(handler)(typed)
    assert shown.value.message == (
        "model: '&lt;img src=\"//attack.invalid/1.png\"&gt;' is not known. Use base &amp; co."
    )
    with pytest.raises(gr.Error) as told:
        tells_input_errors(handler)(typed)
    assert told.value.message == f"model: '{typed}' is not known. Use base & co."


def test_what_came_before_the_error_of_a_stream_was_shown() -> None:
    values = streaming(3)
    assert next(values) == 0
    with pytest.raises(gr.Error, match="3 is odd"):
        next(values)


def test_closing_a_stream_closes_the_handler() -> None:
    closed = []

    @shows_input_errors
    def handler() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    values = handler()
    next(values)
    values.close()
    assert closed == [True]


def test_a_fault_of_ours_stays_what_it_is() -> None:
    @shows_input_errors
    def broken() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        broken()


def test_a_handler_keeps_what_gradio_reads_of_it() -> None:
    assert list(inspect.signature(plain).parameters) == ["r"] and plain.__doc__ == "Halve."
    assert inspect.isgeneratorfunction(streaming)
