"""A conversation as every chat template takes it: a list of messages with a role and a content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.errors import InputError

ROLES = ("system", "user", "assistant", "tool", "developer")
MAX_MESSAGES = 1_000
MAX_CHARACTERS = 2_000_000


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `extra` holds further keys that templates know (`tool_calls`, `name`, …)."""

    role: str
    content: str
    extra: Mapping[str, Any] = field(default_factory=dict)


def parse_messages(value: object) -> tuple[Message, ...]:
    """Check a list of `{role, content, …}` dictionaries, as JSON gives it.

    Raises InputError naming the message (counted from 1) and what it lacks. Roles outside `ROLES` are
    let through: whether a template knows them is for the template to say.
    """
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise InputError("not a list of messages", "messages", 'Write [{"role": "user", "content": "…"}].')
    if not value:
        raise InputError("the conversation is empty", "messages", "Add at least one message.")
    if len(value) > MAX_MESSAGES:
        raise InputError(f"{len(value)} messages", "messages", f"At most {MAX_MESSAGES} are read.")
    messages = tuple(_parse(position, item) for position, item in enumerate(value, start=1))
    size = sum(len(message.content) for message in messages)
    if size > MAX_CHARACTERS:
        raise InputError(f"{size:,} characters", "messages", f"At most {MAX_CHARACTERS:,} are read.")
    return messages


def _parse(position: int, item: object) -> Message:
    where = f"messages, number {position}"
    if not isinstance(item, Mapping):
        raise InputError("not an object with role and content", where)
    role, content = item.get("role"), item.get("content")
    if not isinstance(role, str) or not role.strip():
        raise InputError("has no role", where, f"Use one of: {', '.join(ROLES)}.")
    # A turn that only calls a tool has no content in most formats; templates expect an empty one.
    if content is None and item.get("tool_calls"):
        content = ""
    if not isinstance(content, str):
        raise InputError("has no text as content", where, "Give content as a string.")
    extra = {key: part for key, part in item.items() if key not in ("role", "content")}
    return Message(role.strip(), content, extra)


def as_dicts(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages as `apply_chat_template` and JSON take them."""
    return [{"role": message.role, "content": message.content, **message.extra} for message in messages]
