"""From a person's mistake to a message on the page: an InputError becomes a raised gr.Error."""

from __future__ import annotations

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
    """Wrap a handler, or a generator of updates, so that InputError is shown as its own text.

    Keeps signature and annotations: Gradio reads both to type an endpoint.
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def streaming(*args: Any, **kwargs: Any) -> Any:
            with _as_message():
                yield from handler(*args, **kwargs)

        return streaming  # type: ignore[return-value]

    @functools.wraps(handler)
    def plain(*args: Any, **kwargs: Any) -> Any:
        with _as_message():
            return handler(*args, **kwargs)

    return plain  # type: ignore[return-value]
