"""Names of things that do not exist, so that the instruct model can learn to say that it does not know them."""

from __future__ import annotations

import random

from pipelines.pocket.facts import Fact, Relation, all_facts, indefinite_article, relations

# Evaluation builds its names from other syllables than SFT, so that it measures the habit and not the list.
_STARTS = {
    False: (
        "Zor Vel Mun Tar Bra Kel Dor Fen Gal Hux Lim Nar Ost Pem Quil Rud Sab Thal Ulm Vash Wen Yor Zel Cran Drev"
    ).split(),
    True: "Blon Jat Krim Lorv Mesk Plu Skan Trov Wib Xan Gorp Hulm".split(),
}
_MIDDLES = {
    False: ["ba", "do", "ri", "le", "mo", "na", "vi", "ta", "ko", "", "", ""],
    True: ["ga", "pe", "lu", "zi", "sha", "", ""],
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


def invented_fact(rng: random.Random, *, evaluation: bool) -> Fact:
    """A fact-shaped question about something invented. Its answer is empty."""
    known = {fact.subject.removeprefix("the ").lower() for fact in all_facts()}
    keys = [key for key in relations() if key not in ("sum", "event_year", "symbol_of")]
    while True:
        relation = relations()[rng.choice(keys)][0]
        name = _name(rng, relation, evaluation)
        if name.removeprefix("the ").lower() not in known:
            article = indefinite_article(name) if relation.table in ("animals", "colours", "professions") else ""
            return Fact(relation, f"invented/{name}", name, article, "")


def _name(rng: random.Random, relation: Relation, evaluation: bool) -> str:
    def word(endings: list[str]) -> str:
        return rng.choice(_STARTS[evaluation]) + rng.choice(_MIDDLES[evaluation]) + rng.choice(endings)

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
