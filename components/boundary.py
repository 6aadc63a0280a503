"""The border of the page: what arrives is checked here, and what goes wrong behind it leaves here as a sentence.

A browser that shows the page sends what its fields hold. Any other client sends what it likes: texts for numbers, NaN,
lists a thousand deep, files that nobody uploaded. Gradio's own components then fail in as many ways, and tell the
client what the exception said.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Any

import gradio as gr
from gradio.components.api_component import Api
from gradio.exceptions import InvalidPathError

from components.errors import as_text
from components.journal import record_fault
from components.schemas import misfit
from components.visitors import visitor_of
from pipelines.errors import shown
from pipelines.visiting import VISITOR

MAX_TEXT = 2_000_000  # characters in one field; the largest upload goes another way
MAX_DEPTH = 32  # of lists and objects in one another
# Gradio hands on whatever was sent for these, or fails over it; they are empty at times.
_OF_ONE_TYPE = (gr.Number, gr.Slider, gr.Checkbox, gr.Code)
_STRANGE = "What was sent does not fit the fields of this page. Reload the page; in a client, see 'Use via API'."
_NO_UPLOAD = "file: only what was uploaded is read. Upload the file: in a client, file=handle_file('rows.jsonl')."
_OURS = "The studio made a mistake here, and has noted where. What you typed stays; other parts of the page still work."


class Page(gr.Blocks):
    """Gradio's page, with the border around its handlers."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *rest: Any, **options: Any) -> list[Any]:
        """What the handler is given. Raises gr.Error with one sentence for what cannot be read."""
        names = _parameters(block_fn)
        for block, value, name in zip(block_fn.inputs, inputs, names, strict=False):
            if fault := unreadable(value) or _misfit(value, block):
                told = f"{name}: {fault}." if isinstance(block, Api) else as_text(f"{_name_of(block)}: {fault}.")
                raise gr.Error(told, print_exception=False)
        try:
            given = await super().preprocess_data(block_fn, inputs, *rest, **options)
            # An empty field is an empty text, whoever sends it as null.
            texts = [isinstance(block, gr.Textbox) for block in block_fn.inputs]
            return ["" if text and value is None else value for text, value in zip(texts, given, strict=True)]
        except InvalidPathError:
            raise gr.Error(_NO_UPLOAD, print_exception=False) from None
        except gr.Error as error:
            raise gr.Error(as_text(error.message), print_exception=False) from None
        except Exception:  # whatever a component makes of a value that its own field cannot hold
            raise gr.Error(_STRANGE, print_exception=False) from None

    async def call_function(
        self,
        block_fn: Any,
        processed_input: list[Any],
        iterator: Any = None,
        requests: Any = None,
        *rest: Any,
        **options: Any,
    ) -> Any:
        """What the handler gives, which may know whom it serves. An exception that is no message for a person is noted,
        and told as ours."""
        request = requests[0] if isinstance(requests, list) else requests
        # The threads that handlers run in are given a copy of this.
        VISITOR.set(visitor_of(request))
        try:
            return await super().call_function(block_fn, processed_input, iterator, requests, *rest, **options)
        except gr.Error:
            raise
        except Exception as error:
            record_fault(error, str(getattr(block_fn, "api_name", "")))
            raise gr.Error(_OURS, print_exception=False) from None


def unreadable(value: Any, depth: int = 0) -> str:
    """Why no field of the page holds that value; empty for one that may be right."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a number"
    if isinstance(value, int) and abs(value) > 2**63:
        return "the number is too large"
    if isinstance(value, str) and len(value) > MAX_TEXT:
        return f"{len(value):,} characters; at most {MAX_TEXT:,} are read"
    if isinstance(value, dict | list):
        if depth >= MAX_DEPTH:
            return f"lists or objects in more than {MAX_DEPTH} layers"
        parts: Sequence[Any] = [*value.values(), *value] if isinstance(value, dict) else value
        return next((fault for part in parts if (fault := unreadable(part, depth + 1))), "")
    return ""


def _parameters(block_fn: Any) -> Iterator[str]:
    """The names of the handler's parameters, as an endpoint describes them, and then nothing without end."""
    return chain(inspect.signature(block_fn.fn).parameters if block_fn.fn else (), repeat(""))


def _misfit(value: Any, block: Any) -> str:
    if value is None and _always_holds(block):
        return "nothing is chosen"
    if isinstance(block, Api) or (isinstance(block, _OF_ONE_TYPE) and value is not None):
        return misfit(value, block.api_info())
    if isinstance(block, gr.Dropdown) and block.multiselect:
        return "" if value is None or isinstance(value, list) else f"{shown(value)} is not a list of choices"
    if isinstance(block, gr.Dropdown):
        other = block.allow_custom_value and value is not None and not isinstance(value, str)
        return f"{shown(value)} is not one choice" if other or isinstance(value, list | dict) else ""
    return ""


def _always_holds(block: Any) -> bool:
    """Whether a field cannot be left empty; a slider's number is, while somebody types another over it."""
    if isinstance(block, gr.Dropdown):
        return not (block.multiselect or block.allow_custom_value or block.value is None)
    return isinstance(block, gr.Slider) or (isinstance(block, gr.Radio) and block.value is not None)


def _name_of(block: Any) -> str:
    label = getattr(block, "label", None)
    return label if isinstance(label, str) and label else "a field"
