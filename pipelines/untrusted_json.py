"""JSON from whoever sends it: a visitor, a server, the file of a model."""

from __future__ import annotations

import json
from typing import Any


def read_json(text: str | bytes) -> Any:
    """The value of JSON text. Raises ValueError, as `json.loads` does, for a value that is nested too deeply, too."""
    try:
        return json.loads(text)
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None
