"""A chat template compiled so that its rendering can be followed: whose turn each character belongs to.

The template is compiled by transformers' own sandboxed environment, after two changes to its syntax tree that
do not change what it prints: every loop tells which message it is at, and `~` keeps the origin of text.
Jinja's sandbox stops attribute access, not endless work: time and memory limits are `sandbox.py`'s.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pipelines.templates.traced import Runs, Traced, runs_of, traced_concat, traced_join

# Of a message, only what somebody said or called: role, name and ids are the template's material for headers.
_UNTRACED = ("role", "name", "tool_call_id", "id", "type")


class TracedMessage(dict[str, Any]):
    """A message whose texts are traced. The sandbox hides `_position`, its place in the conversation."""

    _position: int


def traced_messages(messages: Sequence[Mapping[str, Any]]) -> list[TracedMessage]:
    """The messages with every text in them marked by its message's position."""
    made = []
    for position, message in enumerate(messages):
        copy = TracedMessage(
            (key, value if key in _UNTRACED else _mark(value, position)) for key, value in message.items()
        )
        copy._position = position
        made.append(copy)
    return made


def _mark(value: Any, position: int) -> Any:
    if isinstance(value, str):
        return Traced(value, ((len(value), position),) if value else ())
    if isinstance(value, Mapping):
        return {key: item if key == "type" else _mark(item, position) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mark(item, position) for item in value]
    return value


class Turns(threading.local):
    """Which message the template is at, in this thread."""

    def __init__(self) -> None:
        self.at: int | None = None
        self.outer: list[int | None] = []

    def note(self, item: Any) -> None:
        """Remember the message of a loop's step; anything else leaves it as it is."""
        if isinstance(item, TracedMessage):
            self.at = item._position

    def push(self) -> None:
        self.outer.append(self.at)

    def pop(self) -> None:
        self.at = self.outer.pop()


class TracingTemplate:
    """A compiled template. `render` gives chunks of text with the origin and the turn of their characters."""

    def __init__(self, jinja: str) -> None:
        from transformers.utils.chat_template_utils import _compile_jinja_template

        environment = _compile_jinja_template(jinja).environment.overlay()
        self._turns = Turns()
        environment.concat = traced_concat
        environment.filters = environment.filters | {
            "join": _join_filter(environment.filters["join"]),
            "tojson": _tojson,
            "title": _title_filter(environment.filters["title"]),
            "indent": _indent,
        }
        environment.trace_note = self._turns.note
        environment.trace_push = self._turns.push
        environment.trace_pop = self._turns.pop
        environment.trace_join = traced_join
        self._template = environment.from_string(_instrument(environment.parse(jinja)))

    def render(self, variables: Mapping[str, Any]) -> Iterator[tuple[str, Runs, int | None]]:
        """Chunks of text, each with the origins of its characters and the message whose turn prints it."""
        turns = self._turns
        turns.at, turns.outer = None, []
        template = self._template
        # Not template.generate(): it turns each chunk's errors into tracebacks of generated code, and is slower.
        for chunk in template.root_render_func(template.new_context(dict(variables))):
            if chunk:
                yield str.__str__(chunk), runs_of(chunk), turns.at


class OutputTracer:
    """A template each of whose outputs is written `NAME(place, expression)`: tells which output wrote what."""

    NAME = "trace_output"

    def __init__(self, jinja: str) -> None:
        from transformers.utils.chat_template_utils import _cached_compile_jinja_template

        self._place = -1
        self._template = _cached_compile_jinja_template(jinja)
        self._template.globals[self.NAME] = self._note

    def _note(self, place: int, text: Any) -> Any:
        self._place = place
        return text

    def outputs(
        self, chat: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None, special_tokens: Mapping[str, str]
    ) -> Iterator[tuple[int, str]]:
        """`(place, text)` in order. Outputs inside macros belong to the output that calls the macro."""
        from transformers.utils.chat_template_utils import _alias_reasoning_fields

        variables = dict(special_tokens) | {
            "messages": _alias_reasoning_fields([dict(message) for message in chat]),
            "tools": tools,
            "documents": None,
            "add_generation_prompt": False,
        }
        for text in self._template.root_render_func(self._template.new_context(variables)):
            if text:
                yield self._place, str(text)


@lru_cache(maxsize=256)
def tracing_template(jinja: str) -> TracingTemplate:
    """The compiled template, compiled once for each text."""
    return TracingTemplate(jinja)


def _instrument(tree: Any) -> Any:
    """The same template; its loops report the message they are at."""
    from jinja2 import nodes
    from jinja2.visitor import NodeTransformer

    def call(name: str, *arguments: Any) -> Any:
        return nodes.Call(nodes.EnvironmentAttribute(name), list(arguments), [], None, None)

    class Instrument(NodeTransformer):
        depth = 0

        def visit_For(self, node: Any) -> Any:
            self.depth += 1
            self.generic_visit(node)
            self.depth -= 1
            if isinstance(node.target, nodes.Name):
                note = call("trace_note", nodes.Name(node.target.name, "load"))
                node.body.insert(0, nodes.ExprStmt(note))
            return [nodes.ExprStmt(call("trace_push")), node, nodes.ExprStmt(call("trace_pop"))]

        def visit_Assign(self, node: Any) -> Any:
            self.generic_visit(node)
            if not self.depth or not isinstance(node.target, nodes.Name):
                return node
            # `{% set message = messages[i] %}` in a loop over numbers
            return [node, nodes.ExprStmt(call("trace_note", nodes.Name(node.target.name, "load")))]

        def visit_Concat(self, node: Any) -> Any:
            self.generic_visit(node)
            return call("trace_join", nodes.List(node.nodes))

    tree = Instrument().visit(tree)
    for node in tree.find_all(nodes.Stmt):
        node.set_environment(tree.environment)
    tree.set_environment(tree.environment)
    for node in tree.find_all((nodes.ExprStmt, nodes.Call)):
        if getattr(node, "lineno", None) is None:
            node.set_lineno(1)
    return tree


def _join_filter(original: Any) -> Any:
    from jinja2 import pass_eval_context
    from jinja2.filters import make_attrgetter

    @pass_eval_context
    def join(context: Any, value: Any, d: str = "", attribute: str | int | None = None) -> Any:
        if attribute is not None:
            value = map(make_attrgetter(context.environment, attribute), value)
        return traced_join(value, str(d))

    return join


def _title_filter(original: Any) -> Any:
    def title(s: Any) -> Any:
        changed = original(str.__str__(s) if isinstance(s, Traced) else s)
        return s._changed(changed) if isinstance(s, Traced) else changed

    return title


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """transformers' `tojson`, with the origin of the strings inside."""
    options: dict[str, Any] = {
        "ensure_ascii": ensure_ascii,
        "indent": indent,
        "separators": separators,
        "sort_keys": sort_keys,
    }
    if not _has_traced(value):
        return json.dumps(value, **options)
    marked: list[Traced] = []

    def hide(item: Any) -> Any:
        if isinstance(item, Traced):
            marked.append(item)
            return f"\ue000{len(marked) - 1}\ue001"
        if isinstance(item, Mapping):
            return {key: hide(part) for key, part in item.items()}
        if isinstance(item, list | tuple):
            return [hide(part) for part in item]
        return item

    plain = json.dumps(value, **options)
    hidden = json.dumps(hide(value), **options | {"ensure_ascii": False})
    pieces: list[str] = []
    for number, piece in enumerate(hidden.split("\ue000")):
        if number:
            index, _, piece = piece.partition("\ue001")
            text = marked[int(index)]
            quoted = json.dumps(str.__str__(text), ensure_ascii=ensure_ascii)[1:-1]
            pieces.append(text._changed(quoted, lambda part: json.dumps(part, ensure_ascii=ensure_ascii)[1:-1]))
        pieces.append(piece)
    traced = traced_concat(pieces)
    return traced if str.__str__(traced) == plain else plain


def _has_traced(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_has_traced(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_has_traced(item) for item in value)
    return isinstance(value, Traced)


def _indent(s: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    """Jinja's `indent` with the origin of its text."""
    indention = width if isinstance(width, str) else " " * width
    lines = list((s + "\n").splitlines()) if s else [s]
    rest = [indention + line if line or blank else line for line in lines[1:]]
    text = traced_join([lines[0], *rest], "\n")
    return indention + text if first else text
