"""How the pair is judged."""

import pytest

from pipelines.finetune.evaluate import Answer
from pipelines.pocket.conversations import Row
from pipelines.pocket.evaluation import follows, reply_kind


@pytest.mark.parametrize(
    "continuation, kind",
    [
        ("\nWhat is the capital of Spain?\nWhat is the capital of Italy?", "asks on"),
        ("\nThe capital of France is Paris.", "answers"),
        ("\nParis. What is the capital of Spain?", "answers"),
        ("\nName the capital of Spain.", "asks on"),
        ("\nWhich country has Paris as its capital?", "asks on"),
        (" It was raining.", "other"),
    ],
)
def test_a_continuation_answers_asks_on_or_does_neither(continuation, kind):
    assert reply_kind(continuation, "Paris") == kind


def row(personality: str, *marks: str) -> Row:
    return Row([], "personality", answer="Alexander Graham Bell", personality=personality, marks=list(marks))


@pytest.mark.parametrize(
    "personality, marks, text, expected",
    [
        ("one-word", (), "Alexander Graham Bell", True),
        ("one-word", (), "It was Alexander Graham Bell.", False),
        ("pirate", ("Arr",), "Arr! It was Bell.", True),
        ("pirate", ("Arr",), "It was Bell.", False),
        ("full-sentence", (), "It was Bell.", True),
        ("full-sentence", (), "Bell", False),
    ],
)
def test_an_answer_keeps_to_its_personality_or_not(personality, marks, text, expected):
    assert follows(row(personality, *marks), Answer(text, stopped=True)) is expected
