"""One pass over a data set: flags, counts, lengths; then the cleaning that follows from them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.data import inspection as module
from pipelines.data.cleaning import clean, first_conversations, preview
from pipelines.data.inspection import Checks, Inspection, inspect
from pipelines.data.overlap import EvaluationSet
from pipelines.data.records import DEFAULT_DROP, KINDS, Kind, RawRow
from pipelines.data.tokens import EXACT, Lengths, Measure, measure_of, template_counter
from pipelines.errors import InputError
from pipelines.messages import Message

LONG = "Rain falls on the hills, runs into the brook, and the brook carries it to the sea again."


def pair(question: str, answer: str) -> dict[str, str]:
    return {"prompt": question, "completion": answer}


ROWS = [
    pair("Where does rain go?", LONG),
    pair("Where does rain go?", LONG),
    pair("Where does rain go?", LONG.replace("again", "once more")),
    pair("Say hi", ""),
    pair("Say hi <|im_end|>", "Hi."),
    pair("Which river runs through Cairo?", "The Nile."),
    {"other": 1},
    pair("Tell a story", "word " * 3000 + "."),
]


def look(tmp_path: Path, rows: list[Any], checks: Checks | None = None) -> tuple[Inspection, Path]:
    lines = tmp_path / "out.jsonl"
    return inspect((RawRow(number, row) for number, row in enumerate(rows, 1)), "rows", lines, checks), lines


@pytest.fixture
def looked(tmp_path: Path) -> tuple[Inspection, Path]:
    checks = Checks(evaluation=EvaluationSet(["which river runs through CAIRO"]))
    return look(tmp_path, ROWS, checks)


def test_every_row_that_has_something_wrong_is_named_with_its_number(looked: tuple[Inspection, Path]) -> None:
    found = {(problem.row, problem.kind) for problem in looked[0].problems}
    assert found == {
        (2, Kind.EXACT_DUPLICATE),
        (3, Kind.NEAR_DUPLICATE),
        (4, Kind.EMPTY),
        (5, Kind.CONTROL),
        (6, Kind.OVERLAP),
        (7, Kind.UNREADABLE),
        (8, Kind.TOO_LONG),
    }
    rows = [problem.row for problem in looked[0].problems]
    assert rows == sorted(rows)


def test_a_preview_drops_what_cleaning_then_drops(looked: tuple[Inspection, Path], tmp_path: Path) -> None:
    found, lines = looked
    view = preview(found, lines)
    assert (view.kept, view.dropped, view.unread) == (1, 6, 1)
    assert {row.row: row.why for row in view.rows}[4] == ("empty answer",)
    assert clean(found, lines, tmp_path / "clean.jsonl") == 1
    assert first_conversations(tmp_path / "clean.jsonl", 10)[0][1]["content"] == LONG


def test_only_the_chosen_kinds_are_dropped(looked: tuple[Inspection, Path], tmp_path: Path) -> None:
    found, lines = looked
    assert preview(found, lines, Kind.EMPTY).reasons == {"empty answer": 1}
    assert clean(found, lines, tmp_path / "clean.jsonl", Kind.EMPTY) == 6


def test_guesses_are_not_dropped_unless_asked() -> None:
    assert not DEFAULT_DROP & (Kind.CUT | Kind.UNRELATED)
    assert {info.kind for info in KINDS} == set(Kind)


def test_cleaning_everything_away_is_an_error_with_advice(tmp_path: Path) -> None:
    found, lines = look(tmp_path, [pair("Say hi", "")])
    with pytest.raises(InputError, match=r"would drop every row.*Drop fewer kinds"):
        clean(found, lines, tmp_path / "clean.jsonl")


def test_an_unknown_format_says_what_was_seen_and_what_is_known(tmp_path: Path) -> None:
    found, _ = look(tmp_path, [{"height": 1, "weight": 2}])
    assert found.format == "unknown" and found.stats.rows == 1
    assert "columns height, weight" in found.problems[0].what and "Alpaca" in found.problems[0].advice


def test_problems_are_capped_while_counts_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PROBLEMS", 5)
    found, _ = look(tmp_path, [pair(f"Say {number}", "") for number in range(40)])
    assert len(found.problems) == 5 and found.counts == {Kind.EMPTY: 40} and found.more_problems == 35


def test_columns_that_a_trainer_would_mistake_are_not_written(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}], "prompt": "Hi"}
    _, lines = look(tmp_path, [row | {"source": "us"}])
    assert set(json.loads(lines.read_text())) == {"messages", "source"}


def test_no_rows_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no rows"):
        look(tmp_path, [])


def test_questions_of_two_words_and_other_questions_are_not_taken_for_the_evaluation_set() -> None:
    held_out = EvaluationSet(["Thank you!", "What is the capital of Peru?", " ".join(f"w{n}" for n in range(20))])
    assert not held_out.match([Message("user", "Thank you!")])
    assert not held_out.match([Message("user", "What is the capital of Chile?")])
    assert held_out.match([Message("user", "what is the Capital of Peru")])
    assert held_out.match([Message("user", "Here: " + " ".join(f"w{n}" for n in range(3, 18)))])


def test_tokens_are_counted_with_the_template_and_its_special_tokens(tiny_tokenizer: Any) -> None:
    messages = [Message("user", "The capital of France?"), Message("assistant", "Paris.")]
    text = "<|bos|><|user|>The capital of France?<|end|><|assistant|>Paris.<|end|>"
    expected = len(tiny_tokenizer(text, add_special_tokens=False)["input_ids"])
    assert template_counter(tiny_tokenizer)([messages]) == [expected]


def test_the_longest_row_is_what_the_tokenizer_states_unless_that_is_absurd(tiny_tokenizer: Any) -> None:
    class Stated:
        model_max_length = 512

    class Absurd:
        model_max_length = int(1e30)

    assert measure_of(Stated()).max_length == 512
    assert measure_of(Absurd()).max_length == Measure().max_length


def test_beyond_many_rows_lengths_are_estimated_but_counted_near_the_limit() -> None:
    counted: list[int] = []

    def counter(batch: Any) -> list[int]:
        counted.append(len(batch))
        return [len(conversation[0].content) // 2 for conversation in batch]

    lengths = Lengths(Measure(100, counter))
    batch = [[Message("user", "x" * 20)]]
    for _ in range(EXACT // 1000):
        lengths.add(batch * 1000)
    counted.clear()
    assert lengths.add([*batch * 10, [Message("user", "x" * 190)]]) == [10] * 10 + [95]
    assert counted == [1] and lengths.estimated == 10


def test_progress_hears_how_many_rows_were_read(tmp_path: Path) -> None:
    heard: list[int] = []

    def rows() -> Iterator[RawRow]:
        yield from (RawRow(number, pair(f"Say {number}", "So.")) for number in range(1, 2501))

    inspect(rows(), "rows", tmp_path / "out.jsonl", progress=heard.append)
    assert heard == [1000, 2000]


NAMES = (
    "messages conversations conversation data role content from value text prompt completion response instruction "
    "input output context question answer inputs targets chosen rejected message_id parent_id replies system tools "
    "tool_calls history weight"
).split()
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from(("", "user", "gpt", "Hi there", "[1", '["a"]', "{}")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ANYTHING, min_size=1, max_size=5))
def test_any_rows_are_conversations_or_problems_and_never_a_crash(tmp_path: Path, rows: list[Any]) -> None:
    found, lines = look(tmp_path, rows)
    assert found.stats.rows == len(rows)
    assert len(found.flags) == len(lines.read_text(encoding="utf-8").splitlines()) == found.stats.conversations
    assert all(1 <= problem.row <= len(rows) for problem in found.problems)
