"""What the Data tab hands out: conversations, Parquet, a card, the problems, and the script that repeats it."""

from __future__ import annotations

import shutil
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


def saver(studio: Studio) -> Callable[[Session | None], list[str]]:
    """A handler that writes the conversations of a session, its card and its problems, and names the files."""

    @shows_input_errors
    def save(session: Session | None) -> list[str]:
        if session is None:
            raise InputError("no data set is open", "Save files", "Choose one first.")
        kept = store.find(studio.settings.runs_dir, session.cleaned) if session.cleaned else None
        if session.cleaned and kept is None:
            raise InputError("the cleaned data set is no longer kept", "Save files", "Clean it again.")
        # By its key, so that saving again replaces the files instead of filling the disk.
        folder = Path(tempfile.gettempdir()) / "fine-tuning-studio" / (session.cleaned or session.opened.path.stem)
        folder.mkdir(parents=True, exist_ok=True)
        name = "cleaned" if session.cleaned else "messages"
        lines, parquet = folder / f"{name}.jsonl", folder / f"{name}.parquet"
        card, problems = folder / "README.md", folder / "problems.csv"
        shutil.copyfile(kept.path if kept else session.opened.path, lines)
        export.write_parquet(lines, parquet)
        card.write_text(data_card(session), encoding="utf-8")
        problems.write_text(export.problems_csv(session.opened.inspection.problems), encoding="utf-8")
        return [str(path) for path in (lines, parquet, card, problems)]

    return save


def data_card(session: Session) -> str:
    """The card of what is open, or of what cleaning left of it."""
    opened = session.opened
    found, stats = opened.inspection, opened.inspection.stats
    facts = [
        (f"{stats.unit.capitalize()} before cleaning", f"{stats.total:,}"),
        ("Median length", f"{stats.median:,} {stats.unit}"),
        ("Roles", ", ".join(f"{role} {count:,}" for role, count in stats.roles.items())),
    ]
    kept = session.kept if session.cleaned else stats.conversations
    reasons = cleaning.preview(found, opened.path, session.drop).reasons
    return export.data_card(found.name, found.format, stats.rows, kept, reasons, facts, opened.licence)
