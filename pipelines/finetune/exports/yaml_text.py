"""A flat YAML file with comments, without a YAML library: every value is written as JSON, which YAML contains."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def yaml_text(head: str, sections: Mapping[str, Mapping[str, Any]]) -> str:
    """`head` as comment lines, then each section under its comment. Values: JSON-like; None is written empty."""
    lines = [f"# {line}".rstrip() for line in head.splitlines()]
    for comment, values in sections.items():
        lines += ["", *(f"# {line}" for line in comment.splitlines())]
        lines += [f"{key}:{_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    return "" if value is None else f" {json.dumps(value, ensure_ascii=False)}"
