"""The process that renders untrusted templates: a line of JSON in, a line of JSON out. See sandbox.py."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import astuple
from typing import Any

from pipelines.errors import InputError
from pipelines.messages import parse_messages
from pipelines.templates.rendering import render
from pipelines.templates.types import TemplateEntry
from pipelines.templates.warnings import warnings_of


def main(memory: int, max_text: int) -> None:
    """Serve until standard input ends.

    memory: bytes of address space; max_text: characters a rendering may have.
    """
    entry = TemplateEntry("own", "of your own", (), "{{ messages[0].content }}")
    render(parse_messages([{"role": "user", "content": "x"}]), entry)  # imports what a rendering needs
    with contextlib.suppress(ImportError, ValueError):  # Windows has no limits, macOS does not keep this one
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line), memory, max_text)), flush=True)


def _answer(request: dict[str, Any], memory: int, max_text: int) -> dict[str, Any]:
    entry = TemplateEntry("own", "of your own", (), request["jinja"], request["special_tokens"])
    try:
        if "messages" not in request:
            return {"warnings": [astuple(warning) for warning in warnings_of(entry)]}
        rendered = render(
            parse_messages(request["messages"]),
            entry,
            add_generation_prompt=request["add_generation_prompt"],
            tools=request["tools"],
        )
    except InputError as error:
        if isinstance(error.__cause__, MemoryError):
            return _spent(memory)
        return {"error": [error.what, error.where, error.advice]}
    except MemoryError:
        return _spent(memory)
    if len(rendered.text) > max_text:
        what = f"the template wrote {len(rendered.text):,} characters"
        return {"error": [what, "jinja", f"At most {max_text:,} are shown."]}
    return {
        "text": rendered.text,
        "spans": [astuple(span) for span in rendered.spans],
        "answers": [astuple(answer) for answer in rendered.answers],
    }


def _spent(memory: int) -> dict[str, Any]:
    what = f"the template took more than {memory >> 20} MiB of memory and was stopped"
    return {"error": [what, "jinja", "Look for text that is multiplied."], "spent": True}


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
