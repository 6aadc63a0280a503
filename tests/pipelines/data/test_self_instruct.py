"""Self-Instruct: ROUGE-L against its definition, each filter of the paper, and the rounds over a double of a model."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.data import self_instruct as module
from pipelines.data.instruction_filters import answer_fault, instruction_fault, lines_of, nearest, rouge_l, words_of
from pipelines.data.self_instruct import Candidate, self_instruct, write_examples
from pipelines.errors import InputError
from pipelines.models import ModelManager

SEEDS = [f"What is the {name} of a horse today?" for name in "name colour size food home sound young word".split()]


@pytest.mark.parametrize(
    "left, right, score",
    [
        # By hand from the definition: the F-measure of the longest common subsequence
        ("The quick brown fox jumps over the lazy dog", "The quick brown dog jumps on the log.", 0.5882352941176471),
        ("What is the capital of France?", "What is the capital of Peru?", 0.8333333333333334),
        ("Name a river.", "Name a mountain", 0.6666666666666666),
        ("one two", "three four", 0.0),
    ],
)
def test_rouge_l_is_what_its_definition_gives(left: str, right: str, score: float) -> None:
    assert rouge_l(words_of(left), words_of(right)) == pytest.approx(score)


def longest_common(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    """By trying every subsequence of the shorter."""
    short, long = sorted((left, right), key=len)
    for length in range(len(short), 0, -1):
        for chosen in combinations(short, length):
            rest = iter(long)
            if all(word in rest for word in chosen):
                return length
    return 0


@given(*[st.lists(st.sampled_from("abc"), min_size=1, max_size=7).map(tuple)] * 2)
def test_rouge_l_is_the_f_measure_of_the_longest_common_subsequence(
    left: tuple[str, ...], right: tuple[str, ...]
) -> None:
    longest = longest_common(left, right)
    precision, recall = longest / len(left), longest / len(right)
    expected = 2 * precision * recall / (precision + recall) if longest else 0.0
    assert rouge_l(left, right) == pytest.approx(expected)
    assert nearest(left, [("x", right)])[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    "text, why",
    [
        ("Name a river", "too short: 3"),
        ("word " * 151, "too long: 151"),
        ("- Name a long river", "form: begins with '-'"),
        ("Draw a horse for me", "subject: “Draw”"),
        ("Describe the picture you see", "subject: “picture”"),
        ("Write a program that adds", "subject: asks for a program"),
        ("What is the capital of Peru?", ""),
        ("¿Cuál es la capital?", "form"),
        ("法国 的 首都 是哪里", ""),
        ("Tell me about imagery in poems", ""),
    ],
)
def test_each_filter_says_what_it_found(text: str, why: str) -> None:
    found = instruction_fault(text)
    assert found.startswith(why) and bool(found) == bool(why)


def test_answers_are_filtered_too() -> None:
    assert answer_fault("Name a river", " — ", False) == "answer: empty"
    assert answer_fault("Name a river", "name a river!", False) == "answer: repeats the instruction"
    assert answer_fault("Name a river", "The Nile is", True).startswith("answer: cut off")
    assert answer_fault("Name a river", "The Nile.", False) == ""


def test_a_line_is_an_instruction_and_the_last_of_a_cut_text_is_not() -> None:
    assert lines_of("9. Name a river.\n\n10) Name a lake\nWhat is th", whole=False) == ["Name a river.", "Name a lake"]
    assert lines_of("Name a river.", whole=True) == ["Name a river."]


class _Doubles:
    """In place of the two passes of a model: what each round writes, and an answer to everything."""

    def __init__(self, *rounds: list[str]) -> None:
        self.rounds, self.prompts = list(rounds), list[str]()

    def write(self, lease: Any, prompts: list[str], temperature: float, seed: int) -> list[str]:
        self.prompts += prompts
        return self.rounds.pop(0) if self.rounds else []

    def answer(self, lease: Any, candidates: list[Candidate]) -> list[Candidate]:
        return [Candidate(each.instruction, "An answer.", "", each.rouge, each.near) for each in candidates]


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> _Doubles:
    made = _Doubles(
        ["Who wrote the book about whales?", "What is the colour of a horse today?", "Name it"],
        ["Who wrote the book about wales?", "How many legs has a spider got?"],
    )
    monkeypatch.setattr(module, "_write", made.write)
    monkeypatch.setattr(module, "_answered", made.answer)
    monkeypatch.setattr(module, "heldout_questions", lambda: ("How many legs has a spider got?",))
    return made


def test_rounds_feed_the_pool_and_end_when_enough_is_kept(tiny_pair: Any, doubles: _Doubles) -> None:
    first, second, *rest = self_instruct(ModelManager(tiny_pair.settings), SEEDS, wanted=2)
    whys = [candidate.why for candidate in second]
    assert len(first) == 3 and len(second) == 5
    assert whys[0] == "" and whys[2].startswith("too short")
    assert whys[1] == "not new: ROUGE-L 1.00" and second[1].near == SEEDS[1]
    assert whys[3] == "not new: ROUGE-L 0.83" and second[3].near == "Who wrote the book about whales?"
    assert whys[4] == "held out: the evaluation set asks it"
    # Eight instructions in a prompt, of them one of its own as soon as there is one.
    assert all(len(prompt.splitlines()) == 8 for prompt in doubles.prompts)
    assert all("whales" in prompt for prompt in doubles.prompts[module.PROMPTS :])
    assert rest[-1][-1] == second[-1]


def test_the_same_seed_draws_the_same_prompts(tiny_pair: Any, doubles: _Doubles) -> None:
    manager = ModelManager(tiny_pair.settings)
    list(self_instruct(manager, SEEDS, seed=3))
    before, doubles.prompts = doubles.prompts, []
    doubles.rounds = [["Who wrote the book about whales?"]]
    list(self_instruct(manager, SEEDS, seed=3))
    assert doubles.prompts[: module.PROMPTS] == before[: module.PROMPTS]


@pytest.mark.parametrize(
    "seeds, options, said",
    [
        (SEEDS[:3], {}, "3 seeds.*at least 6"),
        ([*SEEDS, "x" * 500], {}, "500 characters"),
        (SEEDS, {"wanted": 0}, "Ask for 1 to 50"),
        (SEEDS, {"rouge_limit": 0.0}, "the paper's is 0.7"),
    ],
)
def test_what_does_not_do_is_named(tiny_pair: Any, seeds: list[str], options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        next(self_instruct(ModelManager(tiny_pair.settings), seeds, **options))


def test_what_was_kept_is_a_data_set(tmp_path: Path) -> None:
    candidates = [Candidate("Who?", "I."), Candidate("Who else?", why="not new: ROUGE-L 0.80")]
    assert write_examples(candidates, tmp_path / "kept.jsonl") == 1
    (line,) = (tmp_path / "kept.jsonl").read_text().splitlines()
    assert json.loads(line)["messages"] == [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}]


def test_a_model_writes_and_answers(tiny_pair: Any) -> None:
    rounds = self_instruct(ModelManager(tiny_pair.settings), [f"Say {n}?" for n in range(8)], writer="base")
    for candidates in rounds:
        assert all(candidate.why or candidate.answer for candidate in candidates)
