"""What the Data tab hands out: conversations, Parquet, a card, the problems, and the script that repeats it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from components.context import Studio
from components.data_session import Session
from components.errors import shows_input_errors
from pipelines.data import cleaning, export, store
from pipelines.data.script import cleaning_script
from pipelines.errors import InputError


def take_home(session: Session | None) -> str:
    """The script that repeats what was done."""
    if session is None:
        return "# Open a data set first."
    opened = session.opened
    found_ = opened.inspection
    flagged = [number for number, flags in zip(found_.numbers, found_.flags, strict=True) if flags & int(session.drop)]
    # A row that `datasets` may stumble over makes its numbering differ from ours.
    origin = "" if len(found_.unread) else opened.origin
    return cleaning_script(found_.name, found_.format, origin, opened.file, flagged)


def _saver(suffix: str, write: Callable[[Session, Path, Path], None]) -> Callable[[Studio], Callable[..., str]]:
    """A handler that writes a file of the session's conversations and hands it to the browser."""

    def make(studio: Studio) -> Callable[..., str]:
        @shows_input_errors
        def save(session: Session | None) -> str:
            if session is None:
                raise InputError("no data set is open", "Save", "Choose one first.")
            kept = store.find(studio.settings.runs_dir, session.cleaned) if session.cleaned else None
            if session.cleaned and kept is None:
                raise InputError("the cleaned data set is no longer kept", "Save", "Clean it again.")
            folder = Path(tempfile.mkdtemp(prefix="studio-data-"))
            target = folder / f"{'cleaned' if session.cleaned else 'messages'}{suffix}"
            write(session, kept.path if kept else session.opened.path, target)
            return str(target)

        return save

    return make


def _write_lines(session: Session, lines: Path, target: Path) -> None:
    target.write_bytes(lines.read_bytes())


def _write_parquet(session: Session, lines: Path, target: Path) -> None:
    export.write_parquet(lines, target)


def _write_card(session: Session, lines: Path, target: Path) -> None:
    opened = session.opened
    found_, stats = opened.inspection, opened.inspection.stats
    view = cleaning.preview(found_, opened.path, session.drop)
    facts = [
        ("Conversations", f"{session.kept or stats.conversations:,}"),
        (f"{stats.unit.capitalize()} before cleaning", f"{stats.total:,}"),
        ("Median length", f"{stats.median:,} {stats.unit}"),
        ("Roles", ", ".join(f"{role} {count:,}" for role, count in stats.roles.items())),
    ]
    kept = session.kept if session.cleaned else stats.conversations
    card = export.data_card(found_.name, found_.format, stats.rows, kept, view.reasons, facts, opened.licence)
    target.write_text(card, encoding="utf-8")


def _write_problems(session: Session, lines: Path, target: Path) -> None:
    target.write_text(export.problems_csv(session.opened.inspection.problems), encoding="utf-8")


save_lines = _saver(".jsonl", _write_lines)
save_parquet = _saver(".parquet", _write_parquet)
save_card = _saver(".md", _write_card)
save_problems = _saver("-problems.csv", _write_problems)
