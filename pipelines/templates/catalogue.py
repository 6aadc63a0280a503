"""The chat templates in use today. Rows in assets/templates/index.json, each with its source.

A row's `text` says where the template's text is: `trl:NAME` (a file that the installed TRL ships), `file:NAME` (written
here from the published format) or `model:NAME` (an embedded model's own).
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError, unknown
from pipelines.templates.types import TemplateEntry

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ASSETS = Path(__file__).resolve().parents[2] / "assets"


@lru_cache(maxsize=1)
def catalogue() -> tuple[TemplateEntry, ...]:
    """Every template, in the order of the index. A text that is not installed is left out."""
    rows = json.loads((ASSETS / "templates" / "index.json").read_text(encoding="utf-8"))
    return tuple(_entry(row, path) for row in rows if (path := _text_path(row["text"])) and path.is_file())


def get_template(key: str) -> TemplateEntry:
    """The template of that key. Raises InputError with the nearest key."""
    by_key = {entry.key: entry for entry in catalogue()}
    if key not in by_key:
        raise unknown(key, by_key, "template")
    return by_key[key]


def template_of(tokenizer: PreTrainedTokenizerBase, key: str = "own") -> TemplateEntry:
    """A tokenizer's own template with its special tokens. Raises InputError if it has none."""
    jinja = tokenizer.chat_template
    if isinstance(jinja, dict):
        jinja = jinja.get("default")
    if not jinja:
        raise InputError("this model has no chat template of its own", "template", "Choose one of the list.")
    tokens = {name: str(value) for name, value in tokenizer.special_tokens_map.items() if isinstance(value, str)}
    return TemplateEntry(key, "of the model", (), str(jinja), tokens, source="the model's tokenizer")


def _entry(row: dict[str, Any], path: Path) -> TemplateEntry:
    return TemplateEntry(
        key=row["key"],
        title=row["title"],
        families=tuple(row["families"]),
        jinja=path.read_text(encoding="utf-8"),
        special_tokens=row["special_tokens"],
        supports_system=row["supports_system"],
        supports_tools=row["supports_tools"],
        source=row["source"],
    )


def _text_path(text: str) -> Path | None:
    place, _, name = text.partition(":")
    if place == "file":
        return ASSETS / "templates" / f"{name}.jinja"
    if place == "model":
        return ASSETS / "models" / name / "chat_template.jinja"
    spec = find_spec("trl")  # finds the package without importing it, which takes seconds
    return Path(spec.origin).parent / "chat_templates" / f"{name}.jinja" if spec and spec.origin else None
