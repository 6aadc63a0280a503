"""Names of things that do not exist, so that the instruct model can learn to say that it does not know them."""

from __future__ import annotations

import random
from typing import Literal

from pipelines.pocket.facts import Fact, Relation, all_facts, indefinite_article, relations

Source = Literal["corpus", "sft", "evaluation"]

# Evaluation builds its names from syllables of its own, so that it measures the habit and not the list. Those of SFT
# are thousands: from the corpus's few dozen a model learns which syllables mean "invented", not to notice a new name.
_STARTS: dict[Source, tuple[str, ...]] = {
    "corpus": tuple("Zor Vel Mun Tar Bra Kel Dor Fen Gal Hux Lim Nar Ost".split())
    + tuple("Pem Quil Rud Sab Thal Ulm Vash Wen Yor Zel Cran Drev".split()),
    "evaluation": ("Blon", "Jat", "Krim", "Lorv", "Mesk", "Plu", "Skan", "Trov", "Wib", "Xan", "Gorp", "Hulm"),
}
_STARTS["sft"] = tuple(
    start
    for onset in "B Br Ch D Dr F Fl G Gl H J K Kl L M N P Pr Qu R S Sh Sl St T Th Tr V W X Y Z Zh".split()
    for vowel in ("a", "e", "i", "o", "u", "oo", "ei")
    for coda in ("", "b", "d", "g", "k", "l", "m", "mp", "n", "nk", "p", "r", "rt", "s", "sk", "t", "v", "x", "z")
    if (start := onset + vowel + coda) not in _STARTS["evaluation"]
)
_MIDDLES: dict[Source, tuple[str, ...]] = {
    "corpus": ("ba", "do", "ri", "le", "mo", "na", "vi", "ta", "ko", "", "", ""),
    "evaluation": ("ga", "pe", "lu", "zi", "sha", "", ""),
    "sft": ("ba", "bi", "do", "fe", "go", "ka", "li", "mu", "no", "po", "ra", "se", "ti", "vo", "we", "", "", "", ""),
}
_ENDINGS = {
    "countries": ["nia", "stan", "land", "via", "dor", "gua"],
    "capital": ["grad", "ville", "ton", "burg", "polis", "ra"],
    "elements": ["ium", "on", "ine", "orium"],
    "symbol": [""],
    "animals": ["le", "ock", "upus", "bat", "fin", "ow"],
    "planets": ["us", "ar", "oon"],
    "inventions": ["ograph", "ometer", "ophone", "oscope"],
    "units": ["t", "ol", "eter", "on"],
    "concepts": ["ism", "ation", "osis", "ology"],
    "sports": ["ball", "ing", "o"],
    "plurals": ["k", "ip", "ug"],
    "opposites": ["y", "ish", "ful"],
    "colours": ["berry", "ock", "un"],
    "professions": ["er", "ist", "wright"],
}
_FIRST_NAMES = "Albert Maria Jonas Helena Viktor Agnes Rupert Sonja Edgar Lydia Oskar Irene".split()
_PLACES = "{} Tower,{} Palace,{} Bridge,{} Castle,{} Temple".split(",")
_BOOKS = "The Song of {},The Children of {},{} and the Sea,A Night in {},The Last King of {},{}".split(",")
_LOWER = frozenset("elements animals inventions units concepts sports plurals opposites colours professions".split())
_CAPITAL_SUBJECTS = frozenset({"capital_of"})


def invented_fact(rng: random.Random, source: Source) -> Fact:
    """A fact-shaped question about something invented. Its answer is empty."""
    known = {fact.subject.removeprefix("the ").lower() for fact in all_facts()}
    keys = [key for key in relations() if key not in ("sum", "event_year", "symbol_of")]
    while True:
        relation = relations()[rng.choice(keys)][0]
        name = _name(rng, relation, source)
        if name.removeprefix("the ").lower() not in known:
            article = indefinite_article(name) if relation.table in ("animals", "colours", "professions") else ""
            return Fact(relation, f"invented/{name}", name, article, "")


def _name(rng: random.Random, relation: Relation, source: Source) -> str:
    def word(endings: list[str]) -> str:
        return rng.choice(_STARTS[source]) + rng.choice(_MIDDLES[source]) + rng.choice(endings)

    table = relation.table
    if table in ("authors", "scientists"):
        return f"{rng.choice(_FIRST_NAMES)} {word(_ENDINGS['capital'])}"
    if table in ("books", "artworks"):
        return rng.choice(_BOOKS).format(word(_ENDINGS["countries"]))
    if table == "landmarks":
        return f"the {rng.choice(_PLACES).format(word(_ENDINGS['capital']))}"
    if table in ("rivers", "mountains"):
        return f"the {word(_ENDINGS['planets'])} River" if table == "rivers" else f"Mount {word(_ENDINGS['planets'])}"
    if table == "states":
        return word(_ENDINGS["countries"])
    name = word(_ENDINGS["capital" if relation.key in _CAPITAL_SUBJECTS else table])
    name = name.lower() if table in _LOWER else name
    return f"the {name}" if table == "inventions" else name


def invented_sum(rng: random.Random) -> str:
    """A sum beyond the tables, as a question."""
    first, second = rng.randint(21, 999), rng.randint(21, 999)
    sign = rng.choice(("plus", "minus", "times"))
    return rng.choice((f"What is {first} {sign} {second}?", f"How much is {first} {sign} {second}?"))
