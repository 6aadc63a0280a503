"""The one error a person can cause and repair. Everything else that is raised is a fault of ours."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A value that somebody typed, chose or uploaded cannot be used.

    what:   what was wrong, naming the value, without a final full stop
    where:  the field, as the person sees it or as the endpoint names it; may be empty
    advice: what to do, a full sentence; may be empty
    """

    def __init__(self, what: str, where: str = "", advice: str = "") -> None:
        self.what, self.where, self.advice = what, where, advice
        super().__init__(f"{where + ': ' if where else ''}{what}.{' ' + advice if advice else ''}")


def shown(value: object) -> str:
    """A value as a message names it: short, and a text in quotes."""
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:59] + "…"


def unknown(value: object, allowed: Iterable[str], where: str) -> InputError:
    """The error for a name that is not among `allowed`: it offers the nearest one, else the whole list."""
    names, text = sorted(allowed), str(value)[:80]
    near = difflib.get_close_matches(text, names, n=1, cutoff=0.5)
    shown = ", ".join(names[:30])
    advice = f"Did you mean '{near[0]}'?" if near else f"Use one of: {shown}."
    return InputError(f"'{text}' is not known", where, advice)
