"""Whether a value is what the description of an endpoint says it takes (JSON schema, as far as Gradio writes it)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.errors import shown

_WORDS = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def misfit(value: Any, schema: Mapping[str, Any]) -> str:
    """What is wrong with the value, without a full stop; empty when it fits."""
    allowed = schema.get("oneOf") or schema.get("anyOf")
    if allowed:
        faults = [misfit(value, one) for one in allowed]
        # The last one is the type itself; before it stands null.
        return "" if "" in faults else faults[-1]
    kind = schema.get("type")
    if not isinstance(kind, str) or kind not in _WORDS:
        return ""
    if not _is(value, kind):
        return f"{shown(value)} is not {_WORDS[kind]}"
    if kind == "array" and "items" in schema:
        for place, item in enumerate(value, start=1):
            if fault := misfit(item, schema["items"]):
                return f"number {place}: {fault}"
    return ""


def _is(value: Any, kind: str) -> bool:
    if kind == "boolean" or isinstance(value, bool):
        return kind == "boolean" and isinstance(value, bool)
    if kind == "integer":
        # JSON knows one kind of number, and some clients write 16.0.
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    types: dict[str, type | tuple[type, ...]] = {
        "string": str, "number": (int, float), "array": list, "object": dict, "null": type(None),
    }  # fmt: skip
    return isinstance(value, types[kind])
