"""The facts of the pocket pair's world: rows of `assets/facts/`, and how each is said and asked.

A fact is one relation of one subject ("capital", "France" → "Paris"). Facts about the same row share an *entity*; the
split into trained and held-out facts goes by entity, so that nothing about a held-out one is ever asked in SFT.
"""

from __future__ import annotations

import csv
import hashlib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from pipelines.stages import ASSETS

HELD_OUT_SHARE = 0.2
# The chapter's own example is held out on purpose: the room watches the model answer what nobody taught it to answer.
ALWAYS_HELD_OUT = frozenset({"countries/France"})
ALWAYS_TRAINED = frozenset({"concepts/photosynthesis"})

_WITH_ARTICLE = re.compile(
    r"^(Bahamas|Central African Republic|Comoros|Czech Republic|Democratic Republic of the Congo|"
    r"Dominican Republic|Gambia|Maldives|Marshall Islands|Netherlands|Philippines|Republic of the Congo|"
    r"Seychelles|Solomon Islands|United .*)$"
)
_LANDMARK_ARTICLE = re.compile(
    r"(Tower|Towers|Louvre|Triomphe|Palace of|London Eye|Colosseum|Fountain|Pantheon|Pisa|Bridge|Chapel|Alhambra|"
    r"Museum|Gate$|Reichstag|House|Rijksmuseum|Atomium|Manneken|Mermaid|Bastion|Acropolis|Parthenon|Kremlin|"
    r"Mosque|Pyramid|Sphinx|Kaaba|Taj|Red Fort|Gateway|Golden Temple|Forbidden|Temple of|Army|Skytree|"
    r"Statue|Building|Memorial|Sign|Needle|Alamo|Bell|Guggenheim)"
)
_NO_ARTICLE = frozenset({"Tower Bridge", "Hagia Sophia", "Burj Khalifa"})


@dataclass(frozen=True, slots=True)
class Relation:
    """One kind of fact and its wordings. `{s}` stands for the subject and `{a}` for the answer.

    statements: the first is the answer sentence and the cloze; all appear in the corpus
    questions:  asked in the corpus and in SFT
    cloze:      the statement that, cut before the answer, has only that answer
    unseen:     asked in the corpus's quiz sheets and never in SFT; evaluation uses these
    """

    key: str
    table: str
    title: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    unseen: tuple[str, ...]
    cloze: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One relation of one subject.

    entity:  "table/name", what the split goes by
    subject: as said in a sentence, with its definite article where it takes one
    article: "a", "an", "the" or "", for subjects that are kinds of things
    """

    relation: Relation
    entity: str
    subject: str
    article: str
    answer: str

    def say(self, wording: str) -> str:
        """`wording` about this fact: `{s} {S} {a s} {A s} {a} {an a}` filled in."""
        indefinite = f"{self.article} {self.subject}".strip()
        text = (
            wording.replace("{s}", self.subject)
            .replace("{S}", upper_first(self.subject))
            .replace("{a s}", indefinite)
            .replace("{A s}", upper_first(indefinite))
            .replace("{an a}", f"{indefinite_article(self.answer)} {self.answer}")
            .replace("{a}", self.answer)
        )
        return upper_first(text)

    @property
    def sentence(self) -> str:
        """The fact as one full sentence; for a definition, as two."""
        return self.say(self.relation.statements[0])

    @property
    def cloze(self) -> str:
        """The sentence cut before its answer, so that the next words must be the answer."""
        if self.relation.key == "definition":
            return " ".join(self.answer.split()[:4])
        before = self.relation.cloze.split("{an a}")[0].split("{a}")[0]
        return self.say(before).rstrip()

    @property
    def held_out(self) -> bool:
        """Whether SFT must never ask about this fact's entity. Stable across runs and platforms."""
        if self.entity in ALWAYS_HELD_OUT or self.entity in ALWAYS_TRAINED:
            return self.entity in ALWAYS_HELD_OUT
        digest = hashlib.sha256(self.entity.encode()).digest()
        return digest[0] < 256 * HELD_OUT_SHARE


def upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def indefinite_article(noun: str) -> str:
    return "an" if noun[:1].lower() in "aeiou" else "a"


def listed(names: list[str]) -> str:
    """["A", "B", "C"] → "A, B and C"."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


@cache
def relations() -> dict[str, tuple[Relation, str, str]]:
    """Every relation with the columns of its subject and its answer, by key."""
    with (ASSETS / "pocket" / "relations.toml").open("rb") as file:
        rows = tomllib.load(file)
    return {
        key: (
            Relation(
                key,
                row["table"],
                row["title"],
                tuple(row["statements"]),
                tuple(row["questions"]),
                tuple(row["unseen"]),
                row.get("cloze", row["statements"][0]),
            ),
            row["subject"],
            row["answer"],
        )
        for key, row in rows.items()
    }


@cache
def table(name: str) -> tuple[dict[str, str], ...]:
    """The rows of `assets/facts/<name>.csv`; sums are counted out instead."""
    if name == "sums":
        return tuple(_sums())
    with (ASSETS / "facts" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


@cache
def all_facts() -> tuple[Fact, ...]:
    """Every fact that has an answer, in the order of the relations and of the tables."""
    facts = []
    for relation, subject_column, answer_column in relations().values():
        for row in table(relation.table):
            answer = _answer(row, answer_column)
            subject = row[subject_column]
            if answer and subject:
                article = row.get("article", "")
                if relation.table == "animals":
                    article = indefinite_article(subject)
                facts.append(
                    Fact(
                        relation,
                        f"{relation.table}/{row['name']}",
                        _said(relation.table, subject_column, subject, article),
                        "" if article == "the" else article,
                        answer,
                    )
                )
    return tuple(facts)


def _answer(row: dict[str, str], column: str) -> str:
    if column == "definition":
        return f"{row['first']} {row['second']}"
    value = row[column]
    if column == "neighbours":
        return listed([_country(name) for name in value.split(";")]) if value else ""
    return _country(value) if column in ("country", "name") else value


def _country(name: str) -> str:
    return f"the {name}" if _WITH_ARTICLE.match(name) else name


def _said(table_name: str, column: str, subject: str, article: str) -> str:
    """The subject as it stands in a sentence."""
    if table_name in ("inventions", "events", "concepts") and article == "the":
        return f"the {subject}"
    if table_name == "rivers" or (table_name == "landmarks" and _takes_article(subject)):
        return f"the {subject}"
    return _country(subject) if column == "name" and table_name == "countries" else subject


def _takes_article(landmark: str) -> bool:
    return landmark not in _NO_ARTICLE and bool(_LANDMARK_ARTICLE.search(landmark))


def _sums() -> Iterator[dict[str, str]]:
    for first in range(13):
        for second in range(13):
            yield {"name": f"{first} plus {second}", "result": str(first + second)}
            if first >= second:
                yield {"name": f"{first} minus {second}", "result": str(first - second)}
            if first and second:
                yield {"name": f"{first} times {second}", "result": str(first * second)}
