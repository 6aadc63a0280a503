"""OpenAssistant's trees: each message names its parent, and every way from a prompt to a leaf is a conversation.

Needs all messages at once, since a parent may come after its child. A way that ends with the user is cut back
to its last answer; replies are followed best-ranked first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipelines.data.formats.columns import lowered, nested
from pipelines.data.formats.forward import ROLE_NAMES
from pipelines.data.records import Example, Kind, Problem, RawRow
from pipelines.messages import Message

DEEPEST = 200


def from_trees(rows: Iterable[RawRow]) -> Iterator[Example | Problem]:
    """The conversations of rows that are messages, or whole trees with nested replies.

    An example has the number of its last message's row. Rows whose parent is missing, or that are their own
    ancestor, are problems. Messages marked as deleted, and what hangs from them, are left out.
    """
    nodes: dict[str, tuple[int, dict[str, Any]]] = {}
    for row in rows:
        if row.fault or not isinstance(row.value, Mapping):
            yield Problem(row.number, Kind.UNREADABLE, row.fault or "This row is not an object", "Mend or drop it.")
            continue
        value = lowered(row.value)
        prompt = nested(value.get("prompt"))
        if isinstance(prompt, Mapping):
            _flatten(row.number, prompt, None, f"row {row.number}", nodes, 0)
            continue
        if not isinstance(value.get("text"), str) or not value.get("message_id"):
            yield Problem(row.number, Kind.UNREADABLE, "This row has no message_id or no text", "Mend or drop it.")
            continue
        if not value.get("deleted"):
            nodes[str(value["message_id"])] = (row.number, value)
    children: dict[str, list[str]] = {}
    roots: list[str] = []
    for key, (number, value) in nodes.items():
        parent = value.get("parent_id")
        # CSV and pandas write a missing parent as an empty text or a number that is not one.
        if parent is None or parent == "" or parent != parent:
            roots.append(key)
        elif str(parent) in nodes:
            children.setdefault(str(parent), []).append(key)
        else:
            yield Problem(
                number,
                Kind.UNREADABLE,
                f"Its parent {str(parent)[:40]} is not in the file",
                "Add the parent or drop it.",
            )
    for replies in children.values():
        replies.sort(key=lambda key: _rank(nodes[key][1]))
    reached: set[str] = set()
    for root in roots:
        yield from _paths(root, nodes, children, reached)
    for key, (number, value) in nodes.items():
        if key not in reached and str(value.get("parent_id")) in nodes:
            yield Problem(number, Kind.UNREADABLE, "No prompt leads to this message", "Look for a loop of parents.")


def _paths(
    root: str,
    nodes: Mapping[str, tuple[int, Mapping[str, Any]]],
    children: Mapping[str, list[str]],
    reached: set[str],
) -> Iterator[Example | Problem]:
    told: set[tuple[str, ...]] = set()
    stack: list[tuple[str, ...]] = [(root,)]
    while stack:
        path = stack.pop()
        reached.add(path[-1])
        replies = children.get(path[-1], [])
        if replies and len(path) < DEEPEST:
            stack += [(*path, reply) for reply in reversed(replies)]
            continue
        while path and _role(nodes[path[-1]][1]) != "assistant":
            path = path[:-1]
        if not path:
            yield Problem(nodes[root][0], Kind.EMPTY, "Nobody answered this prompt", "Drop it.")
        elif path not in told:
            told.add(path)
            number, last = nodes[path[-1]]
            messages = tuple(Message(_role(value), value["text"]) for _, value in (nodes[key] for key in path))
            extra = {name: last[name] for name in ("message_tree_id", "lang") if last.get(name)}
            yield Example(number, messages, extra)


def _flatten(
    number: int, node: Mapping[str, Any], parent: str | None, key: str, nodes: dict[str, Any], depth: int
) -> None:
    if node.get("deleted") or not isinstance(node.get("text"), str) or depth > DEEPEST:
        return
    nodes[key] = (number, {**{name: node.get(name) for name in ("text", "role", "rank", "lang")}, "parent_id": parent})
    for position, reply in enumerate(node.get("replies") or []):
        if isinstance(reply, Mapping):
            _flatten(number, reply, key, f"{key}.{position}", nodes, depth + 1)


def _role(value: Mapping[str, Any]) -> str:
    role = str(value.get("role") or "")
    return ROLE_NAMES.get(role.lower(), role)


def _rank(value: Mapping[str, Any]) -> float:
    try:
        rank = float(value.get("rank"))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("inf")
    return rank if rank == rank else float("inf")
