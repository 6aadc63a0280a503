"""The lock fits requirements.txt, pins everything by hash, and every package in it is listed with its licence."""

from __future__ import annotations

import re
from email.message import Message
from importlib.metadata import Distribution
from types import SimpleNamespace
from typing import cast

import pytest

from tests.supply import entries, faults, installed, listed, read, stated_licence, with_table

REQUIREMENTS, LOCK = read("requirements.txt"), read("requirements.lock")
HASH = "--hash=sha256:" + 64 * "a"
WANTED = "gradio==6.31.0\nsegno==1.6.6  # draws the QR code\n"
HELD = (
    f"gradio==6.31.0 \\\n    {HASH} \\\n    {HASH}\n    # via -r requirements.txt\nsegno==1.6.6 {HASH}\nh11==1 {HASH}\n"
)


def test_the_lock_holds_what_the_requirements_pin_and_every_line_has_a_version_and_a_hash() -> None:
    assert faults(REQUIREMENTS, LOCK) == []
    assert len(entries(LOCK)) > len(entries(REQUIREMENTS)) > 5


def test_the_lock_names_no_index_and_says_how_it_is_made() -> None:
    assert not re.search(r"://|^\s*-[a-z-]*(index|links|host)", LOCK, re.MULTILINE)
    assert "uv pip compile" in LOCK.splitlines()[1]


@pytest.mark.parametrize(
    "requirements, lock, expected",
    [
        (WANTED, HELD, []),
        ("segno==1.6.7\n", HELD, ["segno is 1.6.7 in requirements.txt and 1.6.6 in the lock"]),
        ("torch==2.13.0\n", HELD, ["torch is not in the lock"]),
        ("segno>=1.6\n", HELD, ["segno has no exact version in requirements.txt"]),
        ("segno==1.6.*\n", HELD, ["segno has no exact version in requirements.txt"]),
        ("", f"segno {HASH}\n", ["segno has no exact version in the lock"]),
        ("", f"segno>=1.6.6 {HASH}\n", ["segno has no exact version in the lock"]),
        (WANTED, HELD.replace(f"segno==1.6.6 {HASH}", "segno==1.6.6"), ["segno has no hash"]),
        (WANTED, HELD.replace(f"h11==1 {HASH}", "h11==1 --hash=md5:" + 32 * "a"), ["h11 has no hash"]),
        (
            "numpy==2.4.6\n",
            f"numpy==2.4.6 ; python_version < '3.12' {HASH}\nnumpy==2.5.5 ; python_version >= '3.12' {HASH}\n",
            ["numpy is 2.4.6 in requirements.txt and 2.4.6, 2.5.5 in the lock"],
        ),
    ],
)
def test_what_is_wrong_with_a_lock_is_said_in_a_sentence(requirements: str, lock: str, expected: list[str]) -> None:
    assert faults(requirements, lock) == expected


def test_every_package_of_the_lock_is_listed_with_its_licence() -> None:
    again = "Write the table again with `python -m tests.supply`."
    table = listed(read("docs/licences.md"))
    assert table.keys() == {entry.name for entry in entries(LOCK)}, again
    here = installed(LOCK)
    assert here
    assert {name: table[name] for name in here} == here, again


def test_the_table_is_written_as_it_is_read() -> None:
    text = read("docs/licences.md")
    assert with_table(text, listed(text)) == text


@pytest.mark.parametrize(
    "stated, expected",
    [
        ({"License-Expression": "MIT", "License": "see LICENSE"}, "MIT"),
        ({"License": "BSD-3-Clause", "Classifier": "License :: OSI Approved :: BSD License"}, "BSD-3-Clause"),
        (
            {"License": "Permission is\nhereby granted", "Classifier": "License :: OSI Approved :: ISC License"},
            "ISC License",
        ),
        ({"Classifier": "Topic :: Education"}, "not stated"),
    ],
)
def test_a_licence_is_taken_from_where_a_package_states_it(stated: dict[str, str], expected: str) -> None:
    metadata = Message()
    for key, value in stated.items():
        metadata[key] = value
    assert stated_licence(cast(Distribution, SimpleNamespace(metadata=metadata))) == expected
