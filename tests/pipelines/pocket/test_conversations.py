"""The instruction data keeps held-out things held out."""

import pytest

from pipelines.pocket.conversations import UNKNOWN, held_out_rows, personalities, train_rows
from pipelines.pocket.facts import all_facts
from pipelines.pocket.preferences import preference_rows


@pytest.fixture(scope="module")
def train():
    return train_rows(seed=0)


@pytest.fixture(scope="module")
def held_out():
    return held_out_rows(seed=0)


def test_no_training_question_names_a_held_out_entity_as_its_subject(train):
    entities = {fact.entity for fact in all_facts() if fact.held_out}
    assert not [row for row in train if row.entity in entities]


def test_training_never_asks_about_france(train):
    asked = [message["content"] for row in train for message in row.messages if message["role"] == "user"]
    assert not [text for text in asked if "France" in text]


def test_held_out_questions_are_in_wordings_that_training_never_uses(train, held_out):
    seen = {row.messages[-2]["content"] for row in train}
    assert not [row for row in held_out if row.kind == "plain" and row.messages[-2]["content"] in seen]


def test_held_out_system_prompts_are_not_in_training(train, held_out):
    def prompts(rows):
        return {row.messages[0]["content"] for row in rows if row.messages[0]["role"] == "system"}

    assert prompts(train) and prompts(held_out)
    assert not prompts(train) & prompts(held_out)


def test_invented_names_differ_between_training_and_evaluation(train, held_out):
    def names(rows):
        return {row.entity for row in rows if row.entity.startswith("invented/")}

    assert len(names(held_out)) > 100
    assert not names(train) & names(held_out)


def test_every_personality_occurs_in_both_sets(train, held_out):
    for rows in (train, held_out):
        assert {row.personality for row in rows} - {""} == set(personalities())


def test_unknown_things_are_answered_with_not_knowing(train):
    plain = [row for row in train if row.kind == "unknown" and not row.personality]
    assert {row.messages[-1]["content"] for row in plain} == {UNKNOWN}


def test_preferences_never_reject_the_right_answer():
    rows = preference_rows(seed=0)
    assert len(rows) > 400
    assert not [row for row in rows if row.chosen == row.rejected]
    assert {row.reason for row in rows} == {"wrong", "question", "bare", "chatter", "plain"}


def test_held_out_preferences_ask_about_nothing_that_training_ones_ask_about():
    rows = preference_rows(seed=0)
    asked = {split: {row.prompt[-1]["content"] for row in rows if row.split == split} for split in ("train", "heldout")}
    assert asked["heldout"] and not asked["heldout"] & asked["train"]
    assert all(row.answer in row.chosen[-1]["content"] for row in rows)
