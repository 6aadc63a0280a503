"""Exact and near duplicates, against the true similarity of word pairs."""

from __future__ import annotations

import random
from itertools import pairwise

from pipelines.data.duplicates import Duplicates
from pipelines.messages import Message


def conversation(question: str, answer: str) -> tuple[Message, ...]:
    return Message("user", question), Message("assistant", answer)


def pairs(messages: tuple[Message, ...]) -> set[tuple[str, str]]:
    words = " ".join(f"{message.role} {message.content}" for message in messages).split()
    return set(pairwise(words))


def test_the_same_words_in_other_case_and_spacing_are_an_exact_duplicate() -> None:
    seen = Duplicates()
    assert seen.add(0, conversation("What is it?", "A cat.")) is None
    assert seen.add(1, conversation("what  is it?", "A  CAT.")) == 0
    assert seen.add(2, (Message("assistant", "What is it?"), Message("user", "A cat."))) is None


def test_other_punctuation_alone_is_a_near_duplicate_however_short() -> None:
    seen = Duplicates()
    for row, answer in enumerate(("A cat.", "A cat!", "A dog!")):
        assert seen.add(row, conversation("What is it?", answer)) is None
    assert [(near.row, near.of) for near in seen.near()] == [(1, 0)]


def test_near_duplicates_are_found_as_their_true_similarity_says() -> None:
    draw = random.Random(7)
    words = [f"w{number}" for number in range(4000)]
    originals = [[draw.choice(words) for _ in range(60)] for _ in range(400)]
    rows = list(originals)
    for place in range(200):
        changed = list(originals[place])
        for _ in range(draw.choice((1, 2, 4, 10, 15))):
            changed[draw.randrange(60)] = f"z{draw.randrange(9999)}"
        rows.append(changed)
    said = [conversation(" ".join(row[:15]), " ".join(row[15:])) for row in rows]
    seen = Duplicates()
    for place, messages in enumerate(said):
        seen.add(place, messages)
    found = {near.row: near for near in seen.near()}
    for place in range(200):
        first, second = pairs(said[place]), pairs(said[400 + place])
        true = len(first & second) / len(first | second)
        if true >= 0.87:
            assert found[400 + place].of == place
        if true <= 0.6:
            assert 400 + place not in found
        if 400 + place in found:
            assert abs(found[400 + place].similarity - true) < 0.2  # five standard errors
    assert all(place >= 400 for place in found)


def test_answers_of_one_form_about_different_things_are_no_duplicates() -> None:
    seen = Duplicates()
    for row, (land, city) in enumerate((("France", "Paris"), ("Peru", "Lima"), ("Japan", "Tokyo"))):
        seen.add(row, conversation(f"What is the capital of {land}?", f"The capital of {land} is {city}."))
    assert seen.near() == []


def test_nothing_seen_has_no_duplicates() -> None:
    assert Duplicates().near() == []
