"""What is installed with the studio: the lock beside requirements.txt, and under which licences.

`python -m tests.supply` writes the table of packages in docs/licences.md again, from the metadata of what is installed
here. A package of the lock that is not here, or in another version or build, keeps the row that it has.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LICENCES = ROOT / "docs" / "licences.md"
TABLE = "| package | licence, in the words of its metadata |\n| --- | --- |\n"
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}(?=\s|$)")
_LONGEST = 60  # characters of a License field that names a licence; some packages put its whole text there


@dataclass(frozen=True, slots=True)
class Entry:
    """One requirement of a file: with its marker, if it has one, and the number of its hashes."""

    requirement: Requirement
    hashes: int

    @property
    def name(self) -> NormalizedName:
        return canonicalize_name(self.requirement.name)

    @property
    def pin(self) -> str | None:
        """The one version that it allows, or None when it allows several."""
        pins = [allowed.version for allowed in self.requirement.specifier if allowed.operator == "=="]
        exact = len(self.requirement.specifier) == len(pins) == 1 and "*" not in pins[0]
        return pins[0] if exact else None


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def entries(text: str) -> list[Entry]:
    """The requirements of a file for pip. ValueError for a line that is none, such as the address of an index."""
    return [
        Entry(Requirement(line.partition(" --")[0]), len(_HASH.findall(line))) for line in _lines(text) if line.strip()
    ]


def _lines(text: str) -> Iterator[str]:
    """As pip reads them: comments go, and a line that ends with a backslash goes on in the next."""
    bare = "\n".join(re.sub(r"(^|\s)#.*$", "", line) for line in text.splitlines())
    yield from bare.replace("\\\n", " ").splitlines()


def faults(requirements: str, lock: str) -> list[str]:
    """What is wrong with a lock of these requirements, a sentence each; both are texts of files."""
    locked = entries(lock)
    versions: dict[str, set[str | None]] = {}
    for entry in locked:
        versions.setdefault(entry.name, set()).add(entry.pin)
    found = [f"{entry.name} has no exact version in the lock" for entry in locked if entry.pin is None]
    found += [f"{entry.name} has no hash" for entry in locked if not entry.hashes]
    for wanted in entries(requirements):
        if wanted.pin is None:
            found.append(f"{wanted.name} has no exact version in requirements.txt")
        elif wanted.name not in versions:
            found.append(f"{wanted.name} is not in the lock")
        elif versions[wanted.name] != {wanted.pin}:
            others = ", ".join(sorted(map(str, versions[wanted.name])))
            found.append(f"{wanted.name} is {wanted.pin} in requirements.txt and {others} in the lock")
    return found


def stated_licence(package: Distribution) -> str:
    """As the package's metadata states it: the expression, else the field if it is a name, else the classifiers."""
    expression, field = (package.metadata.get_all(key, [""])[0].strip() for key in ("License-Expression", "License"))
    if expression:
        return expression
    if field and "\n" not in field and len(field) <= _LONGEST:
        return field
    classifiers = [text for text in package.metadata.get_all("Classifier") or [] if text.startswith("License :: ")]
    return ", ".join(text.rpartition(" :: ")[2] for text in classifiers) or "not stated"


def installed(lock: str) -> dict[str, str]:
    """Name → licence of the packages of this environment that are the locked ones, of the same version and build."""
    pins = {(entry.name, entry.pin) for entry in entries(lock)}
    return {
        name: stated_licence(package)
        for package in distributions()
        if ((name := canonicalize_name(package.name)), package.version) in pins
    }


def listed(text: str) -> dict[str, str]:
    """Name → licence as the table in docs/licences.md has them."""
    rows = (row.strip("| ").partition("|") for row in text.partition(TABLE)[2].splitlines())
    return {name.strip(): licence.strip() for name, _, licence in rows}


def with_table(text: str, licences: Mapping[str, str]) -> str:
    """The text with its table, which ends it, made of these."""
    return text.partition(TABLE)[0] + TABLE + "".join(f"| {name} | {licences[name]} |\n" for name in sorted(licences))


def main() -> int:
    """Write the table; returns the exit status."""
    text, lock = read("docs/licences.md"), read("requirements.lock")
    names = {entry.name for entry in entries(lock)}
    known = listed(text) | installed(lock)
    if missing := sorted(names - known.keys()):
        print(f"neither here nor in the table: {', '.join(missing)}. Write their rows by hand.", file=sys.stderr)
        return 1
    LICENCES.write_text(with_table(text, {name: known[name] for name in names}), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
