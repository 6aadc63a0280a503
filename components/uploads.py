"""Files that visitors bring: only what lies in Gradio's upload cache is theirs to name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from pipelines.errors import InputError


def uploaded(file: Any) -> dict[str, str] | None:
    """An upload as `{path, orig_name}`, or None where nothing was uploaded.

    Gradio checks paths of file components and of dictionaries that say they are files; an endpoint takes any
    dictionary, so it is checked here. Raises InputError for a path outside the cache, and for a bare string.
    """
    if file is None:
        return None
    path = file.get("path") if isinstance(file, dict) else None
    folder = Path(get_upload_folder()).resolve()
    if not isinstance(path, str) or not Path(path).resolve().is_relative_to(folder) or not Path(path).is_file():
        shown = f"'{file[:80]}' is a path, not an upload" if isinstance(file, str) else "not an uploaded file"
        raise InputError(shown, "file", "Upload the file: in a client, file=handle_file('rows.jsonl').")
    return {"path": path, "orig_name": str(file.get("orig_name") or Path(path).name)}
