"""Whose runs stand in whose lists, and the options that say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.settings import Settings, parse_settings
from pipelines.visiting import CLASSROOM, PUBLIC, VISITOR, Owners, limits_of


def test_in_a_class_everybody_sees_every_run() -> None:
    owners = Owners(public=False)
    owners.note("a", "anna")
    VISITOR.set("ben")
    assert owners.lists("a") and owners.lists("unknown")


def test_in_public_a_run_is_listed_for_its_visitor_alone() -> None:
    owners = Owners(public=True)
    owners.note("a", "anna")
    owners.note("n", "")
    for visitor, sees in (("anna", ["a"]), ("ben", []), ("", [])):
        VISITOR.set(visitor)
        assert [run for run in ("a", "n", "unknown") if owners.lists(run)] == sees


def test_a_public_studio_is_stricter_in_everything() -> None:
    assert limits_of(Settings()) == CLASSROOM and limits_of(Settings(public=True)) == PUBLIC
    for name in ("runs_of_one", "runs", "answers_of_one", "asked_of_one", "upload_bytes"):
        assert getattr(PUBLIC, name) < getattr(CLASSROOM, name)
    assert PUBLIC.run_seconds


def test_names_and_passwords_come_from_the_option_or_from_a_file(tmp_path: Path) -> None:
    assert parse_settings(["--auth", "ann:se:cret"], {}).auth == (("ann", "se:cret"),)
    listed = tmp_path / "people"
    listed.write_text("ann:one\n\nben:two\n")
    assert parse_settings([], {"STUDIO_AUTH": str(listed)}).auth == (("ann", "one"), ("ben", "two"))
    assert parse_settings(["--public"], {}).public


@pytest.mark.parametrize("given", ["hunter2", ":hunter2", "hunter2:"])
def test_a_wrong_auth_is_not_repeated(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_settings(["--auth", given], {})
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "NAME:PASSWORD" in said and "hunter2" not in said
