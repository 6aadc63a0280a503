"""Server-sent events, as far as streams of JSON need them: what stands after `data:`, one value for each event.

https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6. Names, ids, retry times and comments
are passed over; the byte order mark, which no such server writes, is not.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from pipelines.errors import InputError

MAX_LINE = 4 * 2**20  # characters; the alternatives of one token take some kilobytes
_LINE_END = re.compile(r"\r\n|\n|\r")


class Events:
    """The events of bytes that arrive in pieces of any size."""

    def __init__(self) -> None:
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> Iterator[str]:
        """The data of each event that is complete now. Raises InputError for a line without end."""
        self._rest += self._text.decode(piece)
        start = 0
        for end in _LINE_END.finditer(self._rest):
            # A carriage return that comes last may be the first half of a line end.
            if end[0] == "\r" and end.end() == len(self._rest):
                break
            yield from self._line(self._rest[start : end.start()])
            start = end.end()
        self._rest = self._rest[start:]
        if len(self._rest) > MAX_LINE:
            raise InputError("the server's answer has a line without end", "model", "Ask again.")

    def rest(self) -> Iterator[str]:
        """What the end of the stream completes: to be dropped, strictly, but servers forget the last blank line."""
        yield from self._line(self._rest.rstrip("\r"))
        yield from self._line("")
        self._rest = ""

    def _line(self, line: str) -> Iterator[str]:
        if line:
            name, _, value = line.partition(":")
            if name == "data":
                self._data.append(value.removeprefix(" "))
        elif self._data:
            yield "\n".join(self._data)
            self._data = []
