"""Detection and conversion: every catalogue set, and small files in each format, broken ones among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.data.catalogue import dataset_catalogue, sample_rows
from pipelines.data.formats import REVERSIBLE, convert, detect, from_trees, restore
from pipelines.data.inspection import inspect
from pipelines.data.reading import read_rows
from pipelines.data.records import Example, Kind, Problem, RawRow
from pipelines.errors import InputError
from pipelines.messages import Message, as_dicts

ASKED = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
SAID = [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}]
TOOLED = [
    {"from": "human", "value": "Weather?"},
    {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Oslo"}}'},
    {"from": "observation", "value": "rain"},
    {"from": "gpt", "value": "It rains."},
]

PARTS = {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
PAIRS = "prompt-completion"
P3 = {"inputs": [1], "inputs_pretokenized": "2+2?", "targets": [2], "targets_pretokenized": "4"}
REPLIES = [{"text": text, "role": "assistant", "replies": []} for text in ("4", "four")]
NESTED = {"message_tree_id": "t", "prompt": {"text": "2+2?", "role": "prompter", "replies": REPLIES}}


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def tree(key: str, parent: str | None, text: str, role: str, **more: Any) -> dict[str, Any]:
    return {"message_id": key, "parent_id": parent, "text": text, "role": role, **more}


# name of the file, its text, the format, the number of conversations that come out
FILES = [
    ("messages.jsonl", lines({"messages": ASKED}), "messages", 1),
    ("list.json", json.dumps([{"messages": ASKED}] * 3), "messages", 3),
    ("pretty.json", json.dumps([{"messages": ASKED}] * 2, indent=2), "messages", 2),
    ("wrapped.json", json.dumps({"version": 1, "data": [{"messages": ASKED}] * 2}, indent=1), "messages", 2),
    ("lines-named.json", lines({"messages": ASKED}, {"messages": ASKED}), "messages", 2),
    ("conversation.json", json.dumps(ASKED), "messages", 2),
    ("wildchat.jsonl", lines({"conversation": ASKED, "turn": 1}), "messages", 1),
    ("lists.jsonl", lines(ASKED, ASKED), "messages", 2),
    ("nemotron.jsonl", lines({"input": ASKED[:1], "output": "4"}), "messages", 1),
    ("parts.jsonl", lines({"messages": [PARTS, ASKED[1]]}), "messages", 1),
    ("sharegpt.json", json.dumps([{"id": "1", "conversations": SAID}]), "sharegpt", 1),
    ("sharegpt.jsonl", lines({"conversations": [{"from": "system", "value": "Be brief."}, *SAID]}), "sharegpt", 1),
    ("sharegpt-tools.jsonl", lines({"conversations": TOOLED, "tools": "[]"}), "sharegpt", 1),
    ("sharegpt.csv", 'conversations\n"' + json.dumps(SAID).replace('"', '""') + '"\n', "sharegpt", 1),
    ("alpaca.json", json.dumps([{"instruction": "Add", "input": "2+2", "output": "4"}]), "alpaca", 1),
    ("alpaca-short.jsonl", lines({"instruction": "Add 2 and 2", "output": "4"}), "alpaca", 1),
    ("alpaca.csv", "instruction,input,output\nAdd,2+2,4\nSay hi,,hi\n", "alpaca", 2),
    ("alpaca.tsv", "instruction\tinput\toutput\nAdd\t2+2\t4\n", "alpaca", 1),
    ("semicolons.csv", "instruction;input;output\nAdd;2+2;4\n", "alpaca", 1),
    ("history.jsonl", lines({"instruction": "And?", "output": "5", "history": [["2+2?", "4"]]}), "alpaca", 1),
    ("dolly.jsonl", lines({"instruction": "Who?", "context": "Ann did.", "response": "Ann"}), "dolly", 1),
    ("dolly-short.jsonl", lines({"instruction": "Who?", "response": "Ann"}), "dolly", 1),
    ("openai.jsonl", lines({"prompt": "2+2?", "completion": " 4"}), "prompt-completion", 1),
    ("trl.jsonl", lines({"prompt": ASKED[:1], "completion": ASKED[1:]}), "prompt-completion", 1),
    ("Capitals.csv", "Prompt,Response\n2+2?,4\n", "prompt-completion", 1),
    ("qa.csv", "question,answer\n2+2?,4\n", "prompt-completion", 1),
    ("orca.jsonl", lines({"system_prompt": "Think.", "question": "2+2?", "response": "4"}), "prompt-completion", 1),
    ("bom.csv", "\ufeffprompt,completion\n2+2?,4\n", "prompt-completion", 1),
    ("quoted.csv", 'prompt,completion\n"two\nlines, one ""cell""",4\n', "prompt-completion", 1),
    ("flan.jsonl", lines({"inputs": "2+2?", "targets": "4", "task": "sums"}), "inputs-targets", 1),
    ("p3.jsonl", lines(P3), "inputs-targets", 1),
    ("oasst.jsonl", lines(tree("a", None, "2+2?", "prompter"), tree("b", "a", "4", "assistant")), "openassistant", 1),
    ("late.jsonl", lines(tree("b", "a", "4", "assistant"), tree("a", None, "2+2?", "prompter")), "openassistant", 1),
    ("oasst.csv", "message_id,parent_id,text,role\na,,2+2?,prompter\nb,a,4,assistant\n", "openassistant", 1),
    ("oasst-trees.jsonl", lines(NESTED), "openassistant", 2),
    ("lima.jsonl", lines({"conversations": ["2+2?", "4"], "source": "x"}), "conversations-list", 1),
    ("ultrachat.jsonl", lines({"id": "0", "data": ["2+2?", "4", "3+3?", "6"]}), "conversations-list", 1),
    ("capybara.jsonl", lines({"conversation": [{"input": "2+2?", "output": "4"}]}), "conversations-list", 1),
    ("dpo.jsonl", lines({"prompt": "2+2?", "chosen": "4", "rejected": "5"}), "preference", 1),
    ("ultrafeedback.jsonl", lines({"prompt": "2+2?", "chosen": ASKED, "rejected": ASKED}), "preference", 1),
    ("hh.jsonl", lines({"chosen": "\n\nHuman: 2+2?\n\nAssistant: 4", "rejected": "\n\nHuman: 2+2?"}), "preference", 1),
    ("guanaco.jsonl", lines({"text": "### Human: 2+2?### Assistant: 4"}), "text", 1),
    ("corpus.jsonl", lines({"text": "Once upon a time."}), "text", 1),
    ("story.txt", "Once upon a time.\nThe end.\n", "text", 2),
    # Broken, or something else
    ("broken-line.jsonl", lines({"messages": ASKED}) + '{"messages": [\n' + lines({"messages": ASKED}), "messages", 2),
    ("cut.json", json.dumps([{"messages": ASKED}] * 3)[:-40], "messages", 2),
    ("broken-item.json", '[{"query": "a", "answer": "b"}, {oops}, {"query": "c", "answer": "d"}]', PAIRS, 2),
    ("missing-quote.csv", "prompt,completion\na,b\nc,d,e\nf,g\n", "prompt-completion", 2),
    ("mixed.jsonl", lines({"messages": ASKED}, {"messages": ASKED}, {"foo": 1}), "messages", 2),
    ("one-turn-broken.jsonl", lines({"messages": [*ASKED, {"speaker": "?"}]}, {"messages": ASKED}), "messages", 1),
    ("numbers.json", "[1, 2, 3]", "unknown", 0),
    ("a-number.json", "42", "unknown", 0),
    ("table.csv", "height,weight\n1,2\n", "unknown", 0),
    ("prose.md", "Nothing in here is a table of anything", "unknown", 0),
    ("nested.json", json.dumps({"a": {"b": {"c": 1}}}), "unknown", 0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "format", "conversations"), FILES, ids=[name for name, *_ in FILES])
def test_the_format_of_a_file_is_told_by_its_rows(
    tmp_path: Path, name: str, text: str, format: str, conversations: int
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    found = inspect(read_rows(path), name, tmp_path / "out.jsonl")
    assert (found.format, found.stats.conversations) == (format, conversations)
    # Whatever became no conversation is named with its row.
    assert bool(found.unread) == (Kind.UNREADABLE in found.counts)


def test_there_are_at_least_forty_such_files() -> None:
    assert len(FILES) >= 40


@pytest.mark.parametrize("entry", dataset_catalogue(), ids=lambda entry: entry.key)
def test_sample_rows_are_of_the_stated_format_and_become_conversations(entry: Any) -> None:
    rows = sample_rows(entry.key)
    assert 3 <= len(rows) <= 5
    assert detect(rows).format == entry.format
    if entry.format == "openassistant":
        converted = list(from_trees(RawRow(number, row) for number, row in enumerate(rows, 1)))
    else:
        converted = [convert(number, row, entry.format) for number, row in enumerate(rows, 1)]
    for example in converted:
        assert isinstance(example, Example)
        roles = [message.role for message in example.messages if message.role != "system"]
        assert roles[:2] == ["user", "assistant"] and roles[-1] == "assistant"
    # The published columns are the sample's columns.
    assert set(entry.columns) <= set(rows[0]) | {"history"}


def test_an_alpaca_input_follows_its_instruction() -> None:
    example = convert(1, {"instruction": "Add", "input": "2+2", "output": "4"}, "alpaca")
    assert [message.content for message in example.messages] == ["Add\n\n2+2", "4"]


def test_a_system_column_becomes_the_first_turn() -> None:
    example = convert(1, {"system_prompt": "Think.", "question": "2+2?", "response": "4"}, "prompt-completion")
    assert example.messages[0] == Message("system", "Think.")


def test_function_calls_of_sharegpt_become_tool_calls_and_tools_are_kept() -> None:
    example = convert(1, {"conversations": TOOLED, "tools": '[{"name": "weather"}]'}, "sharegpt")
    assert [message.role for message in example.messages] == ["user", "assistant", "tool", "assistant"]
    call = example.messages[1].extra["tool_calls"][0]["function"]
    assert call == {"name": "weather", "arguments": {"city": "Oslo"}}
    assert example.extra["tools"] == [{"name": "weather"}]


def test_weights_of_turns_are_kept() -> None:
    example = convert(1, {"conversations": [{**SAID[0], "weight": 0}, {**SAID[1], "weight": 1}]}, "sharegpt")
    assert [message.extra["weight"] for message in example.messages] == [0, 1]


def test_the_answer_that_was_not_chosen_is_kept_beside_the_conversation() -> None:
    example = convert(1, {"prompt": "2+2?", "chosen": "4", "rejected": "5"}, "preference")
    assert as_dicts(example.messages) == ASKED and example.extra["rejected"] == "5"


def test_every_way_through_a_tree_is_a_conversation_best_ranked_first() -> None:
    rows = [
        tree("a", None, "2+2?", "prompter"),
        tree("b", "a", "Five", "assistant", rank=1),
        tree("c", "a", "4", "assistant", rank=0),
        tree("d", "c", "Sure?", "prompter"),
        tree("e", "c", "3+3?", "prompter"),
        tree("f", "e", "6", "assistant"),
    ]
    found = list(from_trees(RawRow(number, row) for number, row in enumerate(rows, 1)))
    said = [[message.content for message in item.messages] for item in found if isinstance(item, Example)]
    assert said == [["2+2?", "4"], ["2+2?", "4", "3+3?", "6"], ["2+2?", "Five"]]


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([tree("a", "gone", "4", "assistant")], "parent gone is not in the file"),
        ([tree("a", "b", "x", "assistant"), tree("b", "a", "y", "prompter")], "No prompt leads"),
        ([tree("a", None, "2+2?", "prompter")], "Nobody answered"),
        ([{"message_id": "a", "parent_id": None, "text": None}], "no text"),
    ],
)
def test_a_tree_that_does_not_hold_together_says_where(rows: list[dict[str, Any]], what: str) -> None:
    found = list(from_trees(RawRow(number, row) for number, row in enumerate(rows, 1)))
    assert any(isinstance(item, Problem) and what in item.what for item in found)


def test_a_row_of_another_shape_says_what_was_seen() -> None:
    with pytest.raises(ValueError, match=r"columns foo, bar, which is not alpaca"):
        convert(7, {"foo": 1, "bar": 2}, "alpaca")


TEXTS = st.text(max_size=40).filter(lambda text: "\x00" not in text)


@given(
    system=TEXTS, pairs=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3), format=st.sampled_from(REVERSIBLE)
)
def test_a_conversation_written_in_a_format_reads_back_the_same(
    system: str, pairs: list[tuple[str, str]], format: str
) -> None:
    messages = [Message(role, text) for pair in pairs for role, text in zip(("user", "assistant"), pair, strict=True)]
    if system.strip():
        messages.insert(0, Message("system", system))
    try:
        row = restore(Example(1, tuple(messages)), format)
    except InputError as error:
        assert "no place for" in str(error)
        return
    assert convert(1, row, format).messages == tuple(messages)


def test_alpaca_rows_come_back_as_they_were() -> None:
    row = {"instruction": "Add", "input": "2+2", "output": "4"}
    assert restore(convert(1, row, "alpaca"), "alpaca") == row


def test_a_format_without_a_place_for_tool_calls_refuses_them() -> None:
    example = convert(1, {"conversations": TOOLED}, "sharegpt")
    assert restore(example, "sharegpt")["conversations"][1]["from"] == "function_call"
    with pytest.raises(InputError, match="no place for"):
        restore(example, "alpaca")
