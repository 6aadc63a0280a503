"""Stage 4: a conversation as a screenplay. Roles are the speakers, control tokens the stage directions."""

from __future__ import annotations

from html import escape
from itertools import groupby

from components.widgets.drawings.parts import Caption, figure
from components.widgets.spans import KNOWN_ROLES
from pipelines.teaching.figures import Line, ScreenplayFigures


def screenplay_html(figures: ScreenplayFigures, where: str) -> str:
    """One line for each stretch of the rendering, and the place where the model goes on."""
    del where
    parts = []
    for control, stretch in groupby(figures.lines, key=lambda line: line.control):
        lines = list(stretch)
        if control:
            chips = "".join(f"<span>{escape(_visible(line.text))}</span>" for line in lines)
            parts.append(f'<p class="play-direction">{chips}</p>')
        else:
            parts += [_spoken(line) for line in lines]
    parts.append('<p class="play-cue"><span></span>the model speaks from here</p>')
    directions = sum(line.control for line in figures.lines)
    spoken = len(figures.lines) - directions
    whose = f"The answer is {figures.model}'s own. " if figures.answered else ""
    caption = Caption(
        "The screenplay.",
        f"To the model it is one text of {len(figures.text):,} characters. {spoken} stretches of it are spoken; "
        f"{directions} are stage directions, control tokens that say who speaks and where a turn ends.",
        f"{figures.note + ' ' if figures.note else ''}{whose}Rendered by {figures.model}'s own template, character for "
        "character; a newline is drawn as ↵.",
    )
    return figure("templates", f'<div class="play">{"".join(parts)}</div>', caption)


def _spoken(line: Line) -> str:
    role = line.role if line.role in KNOWN_ROLES else "control"
    return f'<p class="play-line role-{role}"><b>{escape(line.role)}</b><span>{escape(_visible(line.text))}</span></p>'


def _visible(words: str) -> str:
    return words.replace("\n", "↵")
