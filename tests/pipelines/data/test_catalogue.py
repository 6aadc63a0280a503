"""The catalogue's facts, and the lesson's own rows."""

from __future__ import annotations

from datetime import date

import pytest

from pipelines.data.catalogue import dataset_catalogue, get_dataset, parse_size, search
from pipelines.data.lesson import heldout_questions, lesson_rows, preferences
from pipelines.errors import InputError


def test_the_chapters_ten_come_first_with_the_sizes_it_states() -> None:
    chapter = [(entry.title, entry.chapter_size) for entry in dataset_catalogue() if entry.chapter]
    assert [size for _, size in chapter] == [
        "13K", "1K", "15K", "161K messages", "52K", None, "300K", "1.5M", "15M+", "12M",
    ]  # fmt: skip
    assert all(entry.chapter for entry in dataset_catalogue()[:10])


def test_there_are_at_least_ten_of_today_and_every_entry_has_its_source() -> None:
    assert sum(not entry.chapter for entry in dataset_catalogue()) >= 10
    for entry in dataset_catalogue():
        assert entry.source.startswith("https://") and entry.maker and entry.languages and 2020 < entry.year < 2030
        assert entry.made in ("human", "distilled", "multi-task", "mixed")


def test_an_exact_count_is_near_what_the_chapter_says() -> None:
    for entry in dataset_catalogue():
        stated = parse_size(entry.chapter_size or "")
        if stated and entry.count:
            assert abs(entry.count - stated) / stated < 0.04, entry.key


def test_a_count_says_when_it_was_read_in_the_card() -> None:
    read = [entry for entry in dataset_catalogue() if entry.checked]
    assert read and all(date.fromisoformat(entry.checked) and entry.count for entry in read)


@pytest.mark.parametrize(("text", "size"), [("13K", 13_000), ("15M+", 15_000_000), ("1.5M", 1_500_000), ("?", None)])
def test_sizes_are_numbers(text: str, size: int | None) -> None:
    assert parse_size(text) == size


def test_search_needs_every_word() -> None:
    assert {entry.key for entry in search("human Apache 2023 openassistant")} >= {"oasst1", "oasst2"}
    assert search("no such thing at all") == ()


def test_a_key_that_nobody_knows_offers_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'alpaca'"):
        get_dataset("alpacca")


def test_what_is_held_out_is_never_asked_about_in_training() -> None:
    trained = {row.entity for row in lesson_rows("train") if row.entity}
    heldout = {row.entity for row in lesson_rows("heldout") if row.entity}
    assert heldout and not trained & heldout


def test_lesson_conversations_end_with_the_answer_they_are_judged_by() -> None:
    rows = lesson_rows("train")
    assert len(rows) > 1000 and all(row.messages[-1].role == "assistant" for row in rows)
    assert len(heldout_questions()) == len(lesson_rows("heldout"))


def test_a_preference_differs_in_its_answers() -> None:
    pairs = preferences()
    assert pairs and all(pair.chosen != pair.rejected and pair.prompt[-1].role == "user" for pair in pairs)


def test_another_split_is_refused() -> None:
    with pytest.raises(InputError, match="heldout, train"):
        lesson_rows("test")
