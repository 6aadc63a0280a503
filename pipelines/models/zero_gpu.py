"""ZeroGPU: a Space without a GPU of its own, which is lent one for the length of a call. Does nothing anywhere else.

What its package `spaces` does, as its source says (0.51.3): a decorated function runs in a forked process, which has
the GPU; what goes in and what comes out is pickled; of an exception only the class comes out. The process may be kept
for the next call, with what it holds in memory, and is ended when the duration that was asked for is over. The threads
of the process that forked have no GPU, and their locks are copied as they stood.

So a `ModelManager` is pickled as its settings: in the fork it is a manager of that process, which reads its models from
disk onto the GPU and keeps them for as long as the process lives.

Never run on ZeroGPU itself. The tests put a `spaces` in its place that forks and pickles as described.
"""

from __future__ import annotations

import inspect
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import wraps
from importlib.util import find_spec
from typing import Any, TypeVar

from pipelines.errors import InputError

F = TypeVar("F", bound=Callable[..., Any])

LONGEST = 120.0  # seconds that are asked for at most; a visitor who is not logged in has about as much for a day
# What an answer takes, assumed for transformers' eager decoding on a slice of an H200 and rather too long than too
# short; none of it was measured there.
STARTING = 5.0  # seconds for the process and its first use of the GPU
READ = 1e9  # bytes of weights from disk to GPU, a second
TOKEN = 0.04  # seconds a token, which is calls, not arithmetic, for models up to 8B
UNKNOWN = 8_000_000_000  # parameters of a model of which nothing says how many it has

_VARIABLE = "SPACES_ZERO_GPU"
_lent = False  # in a process that has the GPU


def available() -> bool:
    """Whether GPUs are lent here: the variable that `spaces` itself goes by is set, and it is installed."""
    return os.environ.get(_VARIABLE, "").lower() in ("1", "t", "true") and find_spec("spaces") is not None


def holds_none() -> bool:
    """Whether this process would be lent a GPU for a call, and has none now, whatever torch is made to say."""
    return available() and not _lent


def without() -> dict[str, str]:
    """The environment for a process of our own, which nobody lends a GPU."""
    return {name: value for name, value in os.environ.items() if name != _VARIABLE}


def answer_seconds(parameters: Iterable[int], tokens: int) -> float:
    """Estimate of a call that reads models of so many parameters, in bf16, and writes so many tokens in turn."""
    weights = sum(2 * (count or UNKNOWN) for count in parameters)
    return STARTING + weights / READ + tokens * TOKEN


def on_gpu(
    seconds: Callable[..., float],
    stopped: Callable[[Any], Any] | None = None,
) -> Callable[[F], F]:
    """Decorate a function whose arguments and values can be pickled. Anywhere but on ZeroGPU it is given back as it is.

    seconds: the estimate, asked here and with all of the function's arguments; it raises InputError for what needs no
             GPU to be refused. A call of more than LONGEST is refused, too
    stopped: of a function that gives an iterator: the last value, as it is told to somebody who pressed Stop (an Event
             among the arguments, which stays here); None for a function that gives one value
    """

    def decorate(function: F) -> F:
        return _lending(function, seconds, stopped) if available() else function

    return decorate


def _lending(function: F, seconds: Callable[..., float], stopped: Callable[[Any], Any] | None) -> F:
    import spaces

    def there(*arguments: Any) -> Iterator[tuple[Any, tuple[str, str, str] | None]]:
        global _lent
        _lent = True
        try:
            found = function(*arguments)
            for value in (found,) if stopped is None else found:
                yield value, None
        except InputError as error:
            yield None, (error.what, error.where, error.advice)

    def duration(*arguments: Any) -> int:
        return math.ceil(seconds(*arguments))

    lent = spaces.GPU(duration=duration)(there)

    @wraps(function)
    def here(*given: Any, **named: Any) -> Any:
        bound = inspect.signature(function).bind(*given, **named)
        bound.apply_defaults()
        if _lent:
            return function(*bound.args)
        needed = duration(*bound.args)
        if needed > LONGEST:
            raise InputError(
                f"this takes about {needed:,} s, and ZeroGPU lends a GPU for {LONGEST:.0f} s at most",
                "ZeroGPU",
                "Ask for less at a time, or for a smaller model.",
            )
        stop = next((one for one in bound.args if isinstance(one, threading.Event)), None)
        values = _values(lent(*(None if one is stop else one for one in bound.args)), stop, stopped)
        return next(values) if stopped is None else values

    return here  # type: ignore[return-value]


def _values(coming: Iterator[Any], stop: threading.Event | None, stopped: Callable[[Any], Any] | None) -> Iterator[Any]:
    """What the function gave there, and what it raised. Closing this ends the call."""
    with closing(coming):  # type: ignore[type-var]
        for value, fault in coming:
            if fault is not None:
                raise InputError(*fault)
            if stopped is not None and stop is not None and stop.is_set():
                yield stopped(value)
                return
            yield value
