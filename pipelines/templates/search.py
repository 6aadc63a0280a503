"""Finding the messages in a rendered text by looking for them: for the rare template that cannot be followed."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.templates.traced import Origin


def traced_by_search(text: str, contents: Sequence[str]) -> list[tuple[int, Origin, Origin]]:
    """Stretches `(end, turn, origin)` that tile `text`: each content at its first place after the one before.

    A content that the template trimmed is found trimmed; one that it changed or dropped is not found.
    """
    stretches: list[tuple[int, Origin, Origin]] = []
    position = 0
    for number, content in enumerate(contents):
        wanted = content if text.find(content, position) >= 0 else content.strip()
        at = text.find(wanted, position) if wanted else -1
        if at < 0:
            continue
        if at > position:
            stretches.append((at, None, None))
        position = at + len(wanted)
        stretches.append((position, number, number))
    if position < len(text):
        stretches.append((len(text), None, None))
    return stretches
