"""The tables are whole, the wordings fit them, and the split goes by entity."""

import csv

import pytest

from pipelines.pocket.facts import Fact, all_facts, relations, table
from pipelines.stages import ASSETS

TABLES = sorted({relation.table for relation, _, _ in relations().values()} - {"sums"})


def fact(relation: str, subject: str) -> Fact:
    return next(fact for fact in all_facts() if fact.relation.key == relation and fact.subject == subject)


@pytest.mark.parametrize("name", TABLES)
def test_no_table_names_a_thing_twice(name):
    names = [row["name"] for row in table(name)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_a_source(name):
    described = set()
    for path in (ASSETS / "facts").glob("SOURCES-*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            described |= {row["table"].removesuffix(".csv") for row in csv.DictReader(file) if row["source"]}
    assert name in described


def test_neighbours_are_neighbours_of_each_other():
    borders = {row["name"]: set(filter(None, row["neighbours"].split(";"))) for row in table("countries")}
    one_sided = [(here, there) for here, others in borders.items() for there in others if here not in borders[there]]
    assert one_sided == []


@pytest.mark.parametrize(
    "relation, subject, sentence",
    [
        ("capital", "France", "The capital of France is Paris."),
        ("capital", "the Netherlands", "The capital of the Netherlands is Amsterdam."),
        ("symbol", "iron", "The chemical symbol of iron is Fe."),
        ("author", "Hamlet", "Hamlet was written by William Shakespeare."),
        ("landmark_country", "the Eiffel Tower", "The Eiffel Tower is in France."),
        ("sum", "7 times 8", "7 times 8 is 56."),
    ],
)
def test_a_fact_reads_as_people_say_it(relation, subject, sentence):
    assert fact(relation, subject).sentence == sentence


def test_a_cloze_is_the_sentence_before_its_answer():
    assert fact("capital", "France").cloze == "The capital of France is"


def test_photosynthesis_gets_two_sentences():
    assert fact("definition", "photosynthesis").answer.count(". ") == 1


def test_no_wording_leaves_a_gap_unfilled():
    left = [
        text
        for one in all_facts()
        for text in map(one.say, (*one.relation.statements, *one.relation.questions, *one.relation.unseen))
        if "{" in text or "  " in text
    ]
    assert left == []


def test_france_is_held_out_and_photosynthesis_is_not():
    assert fact("capital", "France").held_out
    assert not fact("definition", "photosynthesis").held_out


def test_about_a_fifth_of_the_facts_are_held_out():
    share = sum(one.held_out for one in all_facts()) / len(all_facts())
    assert 0.15 < share < 0.25
