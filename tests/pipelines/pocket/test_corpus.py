"""The corpus tells the chapter's story: facts in many forms, questions followed by questions, and no chat."""

import itertools
import re
from collections import Counter

import pytest

from pipelines.pocket.corpus import documents
from pipelines.pocket.facts import all_facts
from pipelines.pocket.tokenizer import SPECIAL_TOKENS

ORDER = re.compile(r"(\d+\. )?(Name|Explain|Tell me)\b")


@pytest.fixture(scope="module")
def sample() -> list[str]:
    return list(itertools.islice(documents(seed=7), 20_000))


def test_the_same_seed_gives_the_same_documents():
    assert list(itertools.islice(documents(3), 50)) == list(itertools.islice(documents(3), 50))


def test_no_document_holds_a_special_token(sample):
    assert not [text for text in sample if any(token in text for token in SPECIAL_TOKENS)]


def test_a_document_that_begins_with_a_question_holds_only_questions(sample):
    sheets = [text.split("\n") for text in sample if text.split("\n")[0].endswith("?")]
    answered = [line for lines in sheets for line in lines if not (line.endswith("?") or ORDER.match(line))]
    assert len(sheets) > 1000
    assert answered == []


def test_no_sheet_asks_the_same_question_twice(sample):
    repeats = [
        text for text in sample if text.split("\n")[0].endswith("?") and max(Counter(text.split("\n")).values()) > 1
    ]
    assert repeats == []


def test_every_fact_is_stated_somewhere_in_its_main_wording(sample):
    everything = "\n".join(sample)
    missing = [fact.sentence for fact in all_facts() if fact.relation.key != "sum" and fact.sentence not in everything]
    # 20,000 documents are an eighth of the corpus; whatever is drawn this seldom would not be learned.
    assert len(missing) < 0.02 * len(all_facts())
