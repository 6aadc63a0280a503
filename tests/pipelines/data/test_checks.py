"""What a single conversation can have wrong, with the words a person reads."""

from __future__ import annotations

import pytest

from pipelines.data.checks import check_row
from pipelines.data.records import Example, Kind
from pipelines.messages import Message


def conversation(*turns: str) -> Example:
    return Example(3, tuple(Message(role, text) for role, _, text in (turn.partition(": ") for turn in turns)))


def kinds(*turns: str) -> set[Kind]:
    return {problem.kind for problem in check_row(conversation(*turns))}


GOOD = [
    ("user: 2+2?", "assistant: 4"),
    ("system: Be brief.", "user: Hi", "assistant: Hello!", "user: Symbol of sodium?", "assistant: Na"),
    ("user: Name three fruits.", "assistant: 1. Apple\n2. Pear\n3. Plum"),
    ("user: Is it none?", "assistant: None"),
    ("user: Translate 'river' to French.", "assistant: la rivière"),
    ("user: ¿Cuál es la capital de Perú?", "assistant: La capital de Perú es Lima."),
    ("user: Who won the football match last night?", "assistant: I do not know that, because I have no news."),
    ("user: Give me code", "assistant: ```python\nprint(1)\n```"),
    ("user: Écris une phrase.", "assistant: L'été où naît l'œuvre, à Pâques."),
]


@pytest.mark.parametrize("turns", GOOD)
def test_a_sound_conversation_has_no_problem(turns: tuple[str, ...]) -> None:
    assert kinds(*turns) == set()


@pytest.mark.parametrize(
    ("turns", "kind", "what"),
    [
        (("user: Hi", "assistant: "), Kind.EMPTY, "The answer in turn 2 is empty"),
        (("user: Hi", "assistant: N/A"), Kind.EMPTY, "only 'N/A'"),
        (("user: Hi", "assistant: The mitochondria is the powerhouse of the"), Kind.CUT, "ends on 'the'"),
        (("user: Hi", "assistant: Apples, pears,"), Kind.CUT, "ends on ','"),
        (("user: Hi", "assistant: ```python\nprint("), Kind.CUT, "inside a code block"),
        (("user: Hi", "assistant: " + "So it went for a while. " * 10 + "And then they came"), Kind.CUT, "full stop"),
        (("user: Hi",), Kind.ROLES, "Nobody answers"),
        (("assistant: Hi", "user: Hi", "assistant: Yes"), Kind.ROLES, "assistant speaks first"),
        (("user: Hi", "user: Hello?", "assistant: Yes"), Kind.ROLES, "Two user turns follow each other"),
        (("user: Hi", "system: Be brief.", "assistant: Yes"), Kind.ROLES, "system turn stands after"),
        (("user: Hi", "assistant: Yes", "user: Thanks"), Kind.ROLES, "The last turn is the user's"),
        (("user: Hi", "narrator: Yes"), Kind.ROLES, "'narrator' is not one"),
        (("user: Hi <|im_end|>", "assistant: Yes"), Kind.CONTROL, "Turn 1 contains '<|im_end|>'"),
        (("user: Hi", "assistant: [/INST] Yes"), Kind.CONTROL, "'[/INST]'"),
        (("user: Hi", "assistant: Yes\n### Human: And?"), Kind.CONTROL, "### Human:"),
        (("user: Hi", "assistant: Caf\ufffd is nice."), Kind.ENCODING, "U+FFFD"),
        (("user: CafÃ©?", "assistant: Yes."), Kind.ENCODING, "'Ã©' for 'é'"),
        (("user: Itâ€™s late?", "assistant: Yes."), Kind.ENCODING, "for '’'"),
        (("user: Hi\x00", "assistant: Yes."), Kind.ENCODING, "control code 0x00"),
        (("user: Where is the Nile?", "assistant: Where is the Nile?"), Kind.UNRELATED, "repeats the question"),
        (
            ("user: How do I bake sourdough bread at home?", "assistant: The stock market closed higher on Tuesday."),
            Kind.UNRELATED,
            "shares no word",
        ),
    ],
)  # fmt: skip
def test_a_problem_names_its_row_and_says_what_to_do(turns: tuple[str, ...], kind: Kind, what: str) -> None:
    found = [problem for problem in check_row(conversation(*turns)) if problem.kind is kind]
    assert found and found[0].row == 3
    assert what in found[0].what and found[0].advice.endswith(".")


def test_a_tool_call_needs_no_text_and_its_result_may_follow() -> None:
    call = Message("assistant", "", {"tool_calls": [{"function": {"name": "f", "arguments": {}}}]})
    turns = (Message("user", "Hi"), call, Message("tool", "1"), Message("tool", "2"), Message("assistant", "Done."))
    assert list(check_row(Example(1, turns))) == []
