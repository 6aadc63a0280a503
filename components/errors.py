"""From a person's mistake to a message: an InputError becomes a raised gr.Error.

Gradio shows the text of an error as HTML, with pictures from anywhere; a program gets it as it is. So what the page
shows is escaped, and what an endpoint tells is not.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any, TypeVar

import gradio as gr

from pipelines.errors import InputError

LONGEST = 2_000  # characters of a message
Handler = TypeVar("Handler", bound=Callable[..., Any])


def as_text(text: str) -> str:
    """A message for the page that is shown as it was written: Gradio takes messages for HTML. The start of a long one:
    some of Gradio's repeat whatever was sent."""
    return escape(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…", quote=False)


def shows_input_errors(handler: Handler) -> Handler:
    """Wrap a handler of the page, or a generator of updates (asynchronous or not), so that InputError is shown as its
    own text."""
    return _wrapped(handler, as_text)


def tells_input_errors(handler: Handler) -> Handler:
    """The same for an endpoint, whose callers get the text as it is.

    Keeps signature and annotations: Gradio reads both to type an endpoint.
    """
    return _wrapped(handler, str)


@contextmanager
def _as_message(spelled: Callable[[str], str]) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        # The text is complete by itself; the traceback would only repeat it on the server's log.
        raise gr.Error(spelled(str(error)), print_exception=False) from None


def _wrapped(handler: Handler, spelled: Callable[[str], str]) -> Handler:
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def streaming(*args: Any, **kwargs: Any) -> Any:
            with _as_message(spelled):
                yield from handler(*args, **kwargs)

        return streaming  # type: ignore[return-value]

    if inspect.isasyncgenfunction(handler):

        @functools.wraps(handler)
        async def streaming_apart(*args: Any, **kwargs: Any) -> Any:
            values = handler(*args, **kwargs)
            with _as_message(spelled):
                # Closed here and now when the listener goes, not when the interpreter finds the time.
                async with contextlib.aclosing(values):
                    async for value in values:
                        yield value

        return streaming_apart  # type: ignore[return-value]

    @functools.wraps(handler)
    def plain(*args: Any, **kwargs: Any) -> Any:
        with _as_message(spelled):
            return handler(*args, **kwargs)

    return plain  # type: ignore[return-value]
