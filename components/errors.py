"""From a person's mistake to a message on the page: an InputError becomes a raised gr.Error."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import gradio as gr

from pipelines.errors import InputError

Handler = TypeVar("Handler", bound=Callable[..., Any])


@contextmanager
def _as_message() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        # The text is complete by itself; the traceback would only repeat it on the server's log.
        raise gr.Error(str(error), print_exception=False) from None


def shows_input_errors(handler: Handler) -> Handler:
    """Wrap a handler, or a generator of updates (asynchronous or not), so that InputError is shown as its own text.

    Keeps signature and annotations: Gradio reads both to type an endpoint.
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def streaming(*args: Any, **kwargs: Any) -> Any:
            with _as_message():
                yield from handler(*args, **kwargs)

        return streaming  # type: ignore[return-value]

    if inspect.isasyncgenfunction(handler):

        @functools.wraps(handler)
        async def streaming_apart(*args: Any, **kwargs: Any) -> Any:
            values = handler(*args, **kwargs)
            with _as_message():
                # Closed here and now when the listener goes, not when the interpreter finds the time.
                async with contextlib.aclosing(values):
                    async for value in values:
                        yield value

        return streaming_apart  # type: ignore[return-value]

    @functools.wraps(handler)
    def plain(*args: Any, **kwargs: Any) -> Any:
        with _as_message():
            return handler(*args, **kwargs)

    return plain  # type: ignore[return-value]
