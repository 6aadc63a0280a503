"""The corpus that the base is pretrained on: the facts in many forms, and no chat format anywhere.

The documents are those of the chapter's story of the web: articles, lists, notes, letters, stories, scenes in which one
person asks and another answers, and above all quiz sheets, where a question is followed by more questions and never by
an answer. A document that begins with a question is always a quiz sheet; this is what the base learns about questions.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator

from pipelines.pocket.facts import Fact, all_facts, upper_first
from pipelines.pocket.invented import invented_fact
from pipelines.pocket.manners import UNKNOWN, personalities, small_talk, suits_personality

NAMES = (
    "Anna Ben Clara David Emma Farid Grace Hugo Ines Jonas Kofi Lena Marco Nadia Omar Paula Quentin Rosa Sven Tara "
    "Umar Vera Wei Yara Zoe"
).split()
PLACES = (
    "kitchen",
    "garden",
    "library",
    "school",
    "train",
    "park",
    "museum",
    "classroom",
    "boat",
    "market",
    "attic",
)
THINGS = (
    "an old book",
    "a map",
    "a letter",
    "a box of cards",
    "a newspaper",
    "a notebook",
    "a picture",
    "a lamp",
)
WEATHER = (
    "It was raining.",
    "The sun was shining.",
    "It was a cold evening.",
    "Snow lay on the roofs.",
    "It was late.",
)
ENDINGS = (
    "Then they went home.",
    "They talked about it all evening.",
    "Nobody said anything for a while.",
    "After that they had tea.",
    "It was a good day.",
    "They wrote it down.",
)
# Sums and long definitions would crowd out the rest if facts were drawn evenly.
_WEIGHT = {"sum": 0.4, "definition": 2.0, "capital": 1.5, "neighbours": 0.8}
EMPHASIS = 3.0
INVENTED_SHARE = 0.15  # of the questions that are answered in class


class Library:
    """The facts, arranged for drawing; those of the relations in `emphasis` come `EMPHASIS` times as often."""

    def __init__(self, rng: random.Random, emphasis: Collection[str] = ()) -> None:
        self.rng = rng
        self.facts = all_facts()
        self.by_entity: dict[str, list[Fact]] = defaultdict(list)
        self.by_relation: dict[str, list[Fact]] = defaultdict(list)
        self.by_table: dict[str, list[Fact]] = defaultdict(list)
        for fact in self.facts:
            self.by_entity[fact.entity].append(fact)
            self.by_relation[fact.relation.key].append(fact)
            self.by_table[fact.relation.table].append(fact)
        self.entities = list(self.by_entity)
        self.weights = [
            EMPHASIS if fact.relation.key in emphasis else _WEIGHT.get(fact.relation.key, 1.0) for fact in self.facts
        ]
        stressed = {fact.entity for fact in self.facts if fact.relation.key in emphasis}
        self.entity_weights = [EMPHASIS if entity in stressed else 1.0 for entity in self.entities]

    def draw(self, count: int) -> list[Fact]:
        """`count` different facts from anywhere."""
        return list({id(fact): fact for fact in self.rng.choices(self.facts, self.weights, k=count)}.values())

    def entity(self) -> list[Fact]:
        """All facts of one entity, in random order."""
        facts = self.by_entity[self.rng.choices(self.entities, self.entity_weights)[0]]
        return self.rng.sample(facts, len(facts))

    def related(self, count: int) -> list[Fact]:
        """`count` facts of one relation (half of the time), of one table, or from anywhere."""
        lead = self.draw(1)[0]
        roll = self.rng.random()
        if roll > 0.75:
            return self.draw(count)
        pool = self.by_relation[lead.relation.key] if roll < 0.5 else self.by_table[lead.relation.table]
        return self.rng.sample(pool, min(count, len(pool)))

    def statement(self, fact: Fact) -> str:
        """The fact in one of its wordings; the first wording, which cloze and answers use, a third of the time."""
        wordings = fact.relation.statements
        return fact.sentence if self.rng.random() < 0.34 else fact.say(self.rng.choice(wordings))

    def plain_fact(self) -> Fact:
        """One fact that can be said in any manner."""
        return next(fact for fact in iter(lambda: self.draw(1)[0], None) if suits_personality(fact))

    def in_order(self, count: int) -> list[Fact]:
        """`count` facts of one relation that stand next to each other in their table, as textbooks ask them."""
        pool = self.by_relation[self.draw(1)[0].relation.key]
        first = self.rng.randrange(len(pool))
        return [pool[(first + step) % len(pool)] for step in range(min(count, len(pool)))]

    def question(self, fact: Fact) -> str:
        """The fact as a question, in any wording: those that SFT never uses, too."""
        return fact.say(self.rng.choice(fact.relation.questions + fact.relation.unseen))


def article(library: Library) -> str:
    """All there is about one entity, in prose; sometimes followed by a second entity of the same table."""
    rng = library.rng
    parts = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        parts.append(" ".join(library.statement(fact) for fact in library.entity()))
    return "\n".join(parts)


def facts_in_a_row(library: Library) -> str:
    """Statements one after another, of one relation or mixed."""
    return " ".join(library.statement(fact) for fact in library.related(library.rng.randint(4, 9)))


def list_of(library: Library) -> str:
    """A titled list of one relation: subject and answer."""
    rng = library.rng
    facts = library.in_order(rng.randint(5, 12))
    if rng.random() < 0.5:
        rng.shuffle(facts)
    mark, between = rng.choice((("- ", ": "), ("", " - "), ("* ", " = "), ("", ": ")))
    lines = [f"{mark}{upper_first(fact.subject)}{between}{fact.answer}" for fact in facts]
    return "\n".join([facts[0].relation.title, *lines])


def notes(library: Library) -> str:
    """School notes about one thing."""
    rng = library.rng
    facts = library.entity()
    lines = [library.statement(fact) for fact in facts]
    heading = rng.choice(("Notes on", "About", "My notes:", "Today we learned about", "Page about"))
    return "\n".join([f"{heading} {facts[0].subject}", *lines])


def letter(library: Library) -> str:
    """A letter in which somebody tells what they have learned."""
    rng = library.rng
    sender, receiver = rng.sample(NAMES, 2)
    told = [library.statement(fact) for fact in library.draw(rng.randint(2, 4))]
    opening = rng.choice(("I hope you are well.", "Thank you for your letter.", "Here is what I read today."))
    return f"Dear {receiver},\n{opening} {' '.join(told)}\nYours, {sender}"


def story(library: Library) -> str:
    """A scene whose people talk about facts; in half of them one asks and another answers."""
    rng = library.rng
    first, second = rng.sample(NAMES, 2)
    lines = [
        rng.choice(WEATHER),
        f"{first} and {second} sat in the {rng.choice(PLACES)}. {first} had {rng.choice(THINGS)}.",
    ]
    for fact in library.related(rng.randint(1, 4)):
        said = library.statement(fact)
        if rng.random() < 0.5:
            lines.append(f'"{library.question(fact)}" asked {first}. "{said}" said {second}.')
        else:
            lines.append(f'"{said}" said {rng.choice((first, second))}.')
    lines.append(rng.choice(ENDINGS))
    return " ".join(lines)


def quiz_sheet(library: Library) -> str:
    """Questions and more questions. No two are the same, and none is answered.

    Nearly half of the sheets walk through a table in its order, in one wording: so a base that takes the most probable
    word each time goes on to the next country, too, rather than asking the same question for ever.
    """
    rng = library.rng
    count, roll = rng.randint(6, 16), rng.random()
    if roll < 0.45:
        facts = library.in_order(count)
        relation = facts[0].relation
        wording = rng.choice(relation.questions + relation.unseen)
        lines = [fact.say(wording) for fact in facts]
    elif roll < 0.55:
        lines = [library.question(fact) for fact in library.entity()]
    else:
        lines = [library.question(fact) for fact in library.related(count)]
    lines = list(dict.fromkeys(lines))
    if rng.random() < 0.15:
        lines = [f"{number}. {line}" for number, line in enumerate(lines, start=1)]
    if rng.random() < 0.15:
        lines.insert(0, rng.choice(("Quiz", "Questions for Monday", "Test", "Homework", "Quiz night", "Worksheet")))
    return "\n".join(lines)


def _speakers(rng: random.Random) -> list[str]:
    """Who asks and who answers, where that is said."""
    first, second = rng.sample(NAMES, 2)
    return [f"{first} asks and {second} answers."] if rng.random() < 0.7 else []


def answered_in_class(library: Library) -> str:
    """One person asks, another answers, each time with the sentence that states the very fact; or does not know."""
    rng = library.rng
    facts = library.related(rng.randint(3, 7))
    lines = _speakers(rng)
    for number, fact in enumerate(facts):
        if rng.random() < INVENTED_SHARE:
            lines.append(f'"{library.question(invented_fact(rng, "corpus"))}" "{UNKNOWN}"')
        follows_on = number and fact.relation is facts[number - 1].relation and rng.random() < 0.25
        lines.append(f'"{f"And {fact.subject}?" if follows_on else library.question(fact)}" "{fact.sentence}"')
    return "\n".join(lines)


def answered_in_a_manner(library: Library) -> str:
    """The same after a request how to answer: in a word, as a pirate, as a teacher of small children."""
    rng = library.rng
    manner = personalities()[rng.choice(("one-word", *personalities()))]
    request = rng.choice(manner["prompts"])
    lines = _speakers(rng)
    facts = [fact for fact in library.related(rng.randint(2, 4)) if suits_personality(fact)] or [library.plain_fact()]
    for fact in facts:
        if rng.random() < INVENTED_SHARE:
            asked, said = library.question(invented_fact(rng, "corpus")), rng.choice(manner["unknown"])
        else:
            asked = library.question(fact)
            said = rng.choice(manner["says"]).format(sentence=fact.sentence, a=fact.answer)
        lines.append(f'"{request}" "{asked}" "{said}"')
    return "\n".join(lines)


def met_on_the_way(library: Library) -> str:
    """Two people greet each other, thank, and do not know what nobody can know."""
    rng = library.rng
    first, second = rng.sample(NAMES, 2)
    lines = []
    for _ in range(rng.randint(2, 5)):
        if rng.random() < 0.3:
            lines.append(f'"{rng.choice(small_talk()["unknown"]["said"])}" "{UNKNOWN}"')
        else:
            exchange = rng.choice(small_talk()["exchange"])
            lines.append(f'"{rng.choice(exchange["said"])}" "{exchange["reply"]}"')
    return "\n".join([f"{first} meets {second}.", *lines])


# Kind of document → its share.
_KINDS: dict[Callable[[Library], str], float] = {
    article: 0.18,
    facts_in_a_row: 0.15,
    list_of: 0.06,
    notes: 0.09,
    letter: 0.05,
    story: 0.11,
    answered_in_class: 0.09,
    answered_in_a_manner: 0.05,
    quiz_sheet: 0.22,
}


# The revision before the end of pretraining: questions that are answered, in front of somebody.
_REVISION_KINDS: dict[Callable[[Library], str], float] = {
    answered_in_class: 0.32,
    answered_in_a_manner: 0.16,
    met_on_the_way: 0.02,
    story: 0.06,
    article: 0.12,
    facts_in_a_row: 0.10,
    notes: 0.04,
    quiz_sheet: 0.18,
}


def documents(seed: int) -> Iterator[str]:
    """Documents without end, the same ones for the same seed."""
    return _draw(seed, _KINDS, ())


def revision_documents(seed: int, emphasis: Collection[str]) -> Iterator[str]:
    """The same for the revision, which dwells on the relations of `emphasis` and on answered questions."""
    return _draw(seed, _REVISION_KINDS, emphasis)


def _draw(seed: int, kinds: dict[Callable[[Library], str], float], emphasis: Collection[str]) -> Iterator[str]:
    rng = random.Random(seed)
    library = Library(rng, emphasis)
    while True:
        yield rng.choices(list(kinds), list(kinds.values()))[0](library)
