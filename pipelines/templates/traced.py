"""A string that remembers where its characters came from while a template works on it.

Chat templates trim, slice, split, replace, join and concatenate what the messages said. `Traced` is a `str`
whose methods do the same and carry the origin of every character along, so that the rendering can tell content from
control text without knowing the template. Methods that are not overridden give a plain string: the origin
is then lost, never wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, SupportsIndex

Origin = int | None  # the message's position, or None for text of the template itself
Runs = tuple[tuple[int, Origin], ...]  # lengths in characters with the origin of each stretch


class Traced(str):
    """Text with the origin of its characters. `_runs` is private: Jinja's sandbox hides such names."""

    __slots__ = ("_runs",)
    _runs: Runs

    def __new__(cls, text: object = "", runs: Runs | None = None) -> Traced:
        made = super().__new__(cls, text)
        made._runs = runs_of(text) if runs is None else runs
        return made

    def __str__(self) -> str:  # Jinja calls str() on everything it prints
        return self

    def __add__(self, other: object) -> Any:
        return traced_concat((self, other)) if isinstance(other, str) else NotImplemented

    def __radd__(self, other: object) -> Any:
        return traced_concat((other, self)) if isinstance(other, str) else NotImplemented

    def __mul__(self, times: SupportsIndex) -> Traced:
        return Traced(str.__mul__(self, times), self._runs * max(0, times.__index__()))

    __rmul__ = __mul__

    def __getitem__(self, key: Any) -> Traced:
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                return self._cut(start, max(start, stop))
            origins = list(_each(self._runs))[key]
            return Traced(str.__getitem__(self, key), tuple((1, origin) for origin in origins))
        at = key.__index__()
        at = at + len(self) if at < 0 else at
        return Traced(str.__getitem__(self, key), cut_runs(self._runs, at, at + 1))

    def __iter__(self) -> Iterator[Traced]:
        for character, origin in zip(str.__iter__(self), _each(self._runs), strict=True):
            yield Traced(character, ((1, origin),))

    def strip(self, chars: str | None = None) -> Traced:  # type: ignore[override]
        return self.lstrip(chars).rstrip(chars)

    def lstrip(self, chars: str | None = None) -> Traced:  # type: ignore[override]
        return self._cut(len(self) - len(str.lstrip(self, chars)), len(self))

    def rstrip(self, chars: str | None = None) -> Traced:  # type: ignore[override]
        return self._cut(0, len(str.rstrip(self, chars)))

    def removeprefix(self, prefix: str) -> Traced:  # type: ignore[override]
        return self._cut(len(prefix) if self.startswith(prefix) else 0, len(self))

    def removesuffix(self, suffix: str) -> Traced:  # type: ignore[override]
        return self._cut(0, len(self) - len(suffix) if suffix and self.endswith(suffix) else len(self))

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[Traced]:  # type: ignore[override]
        return self._locate(str.split(self, sep, maxsplit), sep)

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[Traced]:  # type: ignore[override]
        return self._locate(str.rsplit(self, sep, maxsplit), sep)

    def splitlines(self, keepends: bool = False) -> list[Traced]:  # type: ignore[override]
        kept = self._locate(str.splitlines(self, True), "")
        return kept if keepends else [line._cut(0, len(str.splitlines(line)[0])) for line in kept]

    def partition(self, sep: str) -> tuple[Traced, Traced, Traced]:  # type: ignore[override]
        first, middle, last = self._locate(list(str.partition(self, sep)), "")
        return first, middle, last

    def rpartition(self, sep: str) -> tuple[Traced, Traced, Traced]:  # type: ignore[override]
        first, middle, last = self._locate(list(str.rpartition(self, sep)), "")
        return first, middle, last

    def replace(self, old: str, new: str, count: SupportsIndex = -1) -> Traced:  # type: ignore[override]
        if not old:
            return self._changed(str.replace(self, old, new, count))
        return _joined(self.split(old, count), new)

    def join(self, parts: Iterable[str]) -> Traced:  # type: ignore[override]
        return _joined(list(parts), self)

    def upper(self) -> Traced:  # type: ignore[override]
        return self._changed(str.upper(self), str.upper)

    def lower(self) -> Traced:  # type: ignore[override]
        return self._changed(str.lower(self), str.lower)

    def title(self) -> Traced:  # type: ignore[override]
        return self._changed(str.title(self))

    def capitalize(self) -> Traced:  # type: ignore[override]
        return self._changed(str.capitalize(self))

    def swapcase(self) -> Traced:  # type: ignore[override]
        return self._changed(str.swapcase(self), str.swapcase)

    def casefold(self) -> Traced:  # type: ignore[override]
        return self._changed(str.casefold(self), str.casefold)

    def _cut(self, start: int, stop: int) -> Traced:
        if start == 0 and stop == len(self):
            return self
        return Traced(str.__getitem__(self, slice(start, stop)), cut_runs(self._runs, start, stop))

    def _locate(self, parts: list[str], sep: str | None) -> list[Traced]:
        """The parts that a split gave, cut out of this string: in order, `sep` apart (None: any blanks apart)."""
        found, position = [], 0
        for part in parts:
            start = str.find(self, part, position) if sep is None else position
            found.append(self._cut(start, start + len(part)))
            position = start + len(part) + len(sep or "")
        return found

    def _changed(self, text: str, change: Callable[[str], str] | None = None) -> Traced:
        """This string after a change of its characters; lengths may change (`ß` → `SS`)."""
        if len(text) == len(self):
            return Traced(text, self._runs)
        if len({origin for _, origin in self._runs}) == 1:
            return Traced(text, ((len(text), self._runs[0][1]),))
        position, runs = 0, []
        for length, origin in self._runs:
            piece = str.__getitem__(self, slice(position, position + length))
            runs.append((len(change(piece)) if change else length, origin))
            position += length
        known = sum(length for length, _ in runs) == len(text)
        return Traced(text, tuple(runs) if known else ((len(text), None),))


def runs_of(text: object) -> Runs:
    """The origins of a string; a plain one is the template's own."""
    if isinstance(text, Traced):
        return text._runs
    length = len(str(text))
    return ((length, None),) if length else ()


def cut_runs(runs: Runs, start: int, stop: int) -> Runs:
    """The stretch from `start` to `stop` (exclusive)."""
    kept, position = [], 0
    for length, origin in runs:
        low, high = max(start, position), min(stop, position + length)
        if low < high:
            kept.append((high - low, origin))
        position += length
        if position >= stop:
            break
    return tuple(kept)


def traced_concat(parts: Iterable[Any]) -> str:
    """`"".join(map(str, parts))`; traced if any part is."""
    texts = [part if isinstance(part, str) else str(part) for part in parts]
    joined = "".join(texts)
    if not any(isinstance(text, Traced) for text in texts):
        return joined
    return Traced(joined, tuple(run for text in texts for run in runs_of(text)))


def traced_join(parts: Iterable[Any], separator: str = "") -> str:
    """`separator.join(map(str, parts))`; traced if any part is."""
    texts = [part if isinstance(part, str) else str(part) for part in parts]
    return str(_joined(texts, separator))


def _joined(parts: Sequence[str], separator: str) -> Traced:
    woven: list[str] = []
    for number, part in enumerate(parts):
        if number and separator:
            woven.append(separator)
        woven.append(part)
    return Traced(traced_concat(woven))


def _each(runs: Runs) -> Iterator[Origin]:
    for length, origin in runs:
        for _ in range(length):
            yield origin
