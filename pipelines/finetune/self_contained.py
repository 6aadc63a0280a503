"""A Python file that brings its own files: a zip archive in base64, in comment lines at its end.

So a script stays one file that `python`, `uv run` and hosted job runners take as it is, and that a person can read
from the top. The first start writes the files into a folder beside the script.
"""

from __future__ import annotations

import base64

_MARK = "# --- files of the run ---"
_WIDTH = 116

IMPORTS = ("base64", "io", "zipfile")

# The mark is written with escapes, so that this statement is not taken for the mark itself.
_UNPACK = """\
HERE = Path(__file__).resolve().parent / "{folder}"
if not HERE.is_dir():  # the first start: write what stands at the end of this file into a folder beside it
    _, _, lines = Path(__file__).read_text(encoding="utf-8").partition("\\n{mark}\\n")
    packed = base64.b64decode("".join(line[2:] for line in lines.splitlines()))
    zipfile.ZipFile(io.BytesIO(packed)).extractall(HERE)"""


def unpack_lines(folder: str) -> list[str]:
    """Source that defines HERE, the folder of the files, and fills it where it is not there yet."""
    return _UNPACK.format(folder=folder, mark=_MARK).splitlines()


def with_files(script: str, archive: bytes) -> str:
    """`script`, which holds `unpack_lines`, with the archive at its end."""
    text = base64.b64encode(archive).decode()
    lines = "".join(f"# {text[at : at + _WIDTH]}\n" for at in range(0, len(text), _WIDTH))
    return f"{script}\n\n{_MARK}\n{lines}"
