"""Numbers and words as CSV that a spreadsheet shows and never runs, and words as Markdown that stay words."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

# A spreadsheet runs a cell that begins so (OWASP, CSV injection). Which characters end a cell is up to the language it
# speaks: a German one takes a semicolon for the end, and what stands behind it, quoted or not, for the next cell.
_FORMULA = re.compile(r"(?:\A|(?<=[;\t\r\n]))(?=[=+\-@\t\r＝＋－＠])")
_MARKUP = re.compile(r"([\\`\[\]|])")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A line of names, then one for each row. None is an empty cell; numbers stay numbers, words become safe cells."""
    text = io.StringIO()
    table = csv.writer(text)
    for row in ([*columns], *rows):
        table.writerow([safe_cell(cell) if isinstance(cell, str) else cell for cell in row])
    return text.getvalue()


def safe_cell(text: str) -> str:
    """The text as a spreadsheet shows it: what would be run as a formula gets an apostrophe before it."""
    return _FORMULA.sub("'", text)


def plain_markdown(text: str) -> str:
    """The text within a line or a cell of Markdown: no markup, no link or picture, no line break."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;")
