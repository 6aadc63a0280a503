"""What one conversation can have wrong by itself, without looking at other rows.

Empty, control, encoding and role checks are exact. `CUT` and `UNRELATED` are guesses, by the rules written at
their functions; they are shown, and dropped only when asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from pipelines.data.records import Example, Kind, Problem
from pipelines.messages import ROLES, Message

# What stands where an answer is missing in published sets.
_STAND_INS = frozenset("n/a null nan todo tbd - -- … ... . ? <nooutput> <empty> [empty]".split())
# What chat templates in use write themselves: special tokens, instruction brackets and section headers.
_CONTROL = re.compile(
    r"<\|[a-z][a-z0-9_ ]{0,40}\|>|<｜[^｜<>\n]{1,40}｜>|</?s>|<(?:bos|eos|pad|unk)>|</?(?:start|end)_of_turn>|"
    r"\[/?INST\]|<</?SYS>>|^###\s*(?:Human|User|Assistant|Instruction|Response|System)\s*:",
    re.IGNORECASE | re.MULTILINE,
)
_LOST = re.compile("[\ufffd\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# UTF-8 read as Windows-1252 or Latin-1: a lead byte's character followed by a continuation byte's.
_CONTINUATION = "\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_MOJIBAKE = re.compile(f"[ÂÃÄÅÎÏÐÑ][{_CONTINUATION}]|[âãä][{_CONTINUATION}]{{2}}|ð[{_CONTINUATION}]{{3}}")
# No sentence ends on these.
_DANGLING = frozenset(
    "a an the and or but nor of to in on at by for with from into onto about as than that which who whose because "
    "is are was were be been being has have had will would can could should may might must do does did not very "
    "my your his her its our their this these those when where while if although between".split()
)
_ENDS = tuple(".!?…:;\"'”’»)]}>`*_|。！？」）✓°%")
_LONG = 240
_WORD = re.compile(r"[^\W\d_]+")
# Too common in questions to tie an answer to one.
_COMMON = frozenset(
    "what which who whom whose when where why how does did the and for are was were can could would should will have "
    "has had you your with that this these those from into about than then them they their there here please tell "
    "explain describe many much some any most more make made give given name list write between not but its it's it "
    "very also just like one two being been find mean means work works happen happens difference".split()
)
_QUESTION = re.compile(
    r"^\W*(?:what|which|who|whom|whose|when|where|why|how|is|are|was|were|do|does|did|can|could|should|explain|describe)\b",
    re.IGNORECASE,
)
_REWRITE = re.compile(
    r"\b(?:translat|rephras|rewrit|summari|paraphras|synonym|antonym|opposite|continue|classif|correct)", re.IGNORECASE
)


# An honest answer to anything; it needs no word of the question.
_DECLINES = re.compile(r"\b(?:know|sure|sorry|cannot|can't|unable)\b", re.IGNORECASE)


def check_row(example: Example) -> Iterator[Problem]:
    """Every problem of the conversation by itself."""
    messages = example.messages
    yield from _empty(example.number, messages)
    yield from _roles(example.number, messages)
    for position, message in enumerate(messages, start=1):
        found = _CONTROL.search(message.content)
        if found:
            yield Problem(
                example.number,
                Kind.CONTROL,
                f"Turn {position} contains {found[0].strip()!r}, which templates write themselves",
                "Remove the text, or convert the row from the template it was rendered with.",
            )
            break
    for position, message in enumerate(messages, start=1):
        problem = _encoding(example.number, position, message.content)
        if problem:
            yield problem
            break
    answer = messages[-1].content.rstrip() if messages and messages[-1].role == "assistant" else ""
    if answer:
        yield from _cut(example.number, answer)
        question = next((message.content for message in reversed(messages) if message.role == "user"), "")
        yield from _unrelated(example.number, question, answer)


def _empty(number: int, messages: Sequence[Message]) -> Iterator[Problem]:
    for position, message in enumerate(messages, start=1):
        if message.role != "assistant" or message.extra.get("tool_calls"):
            continue
        said = message.content.strip()
        if not said:
            yield Problem(
                number, Kind.EMPTY, f"The answer in turn {position} is empty", "Write the answer, or drop the row."
            )
            return
        if said.lower() in _STAND_INS:
            yield Problem(
                number,
                Kind.EMPTY,
                f"The answer in turn {position} is only {said!r}",
                "Write the answer, or drop the row: the model would learn to answer so.",
            )
            return


def _roles(number: int, messages: Sequence[Message]) -> Iterator[Problem]:
    """user, assistant, user, … after at most one system turn; tool turns follow the call they answer."""

    def problem(what: str, advice: str) -> Problem:
        return Problem(number, Kind.ROLES, what, advice)

    unknown = next((message.role for message in messages if message.role not in ROLES), None)
    if unknown is not None:
        yield problem(f"The role {unknown[:40]!r} is not one that templates know", f"Use {', '.join(ROLES[:4])}.")
        return
    turns = list(messages)
    if turns and turns[0].role in ("system", "developer"):
        turns = turns[1:]
    if any(message.role in ("system", "developer") for message in turns):
        yield problem(
            "A system turn stands after the first turn", "Put it first: most templates refuse or drop it elsewhere."
        )
        return
    if not any(message.role == "assistant" for message in turns):
        yield problem("Nobody answers", "Add an answer of the assistant: there is nothing to learn from.")
        return
    if turns[0].role == "assistant" and len(turns) > 1:
        yield problem("The assistant speaks first", "Put the question before it; many templates refuse this order.")
        return
    for before, after in pairwise(turns):
        if before.role == after.role and after.role != "tool":
            yield problem(f"Two {after.role} turns follow each other", "Join them, or restore the turn between.")
            return
        if after.role == "tool" and before.role not in ("assistant", "tool"):
            yield problem("A tool turn answers no call", "Put the assistant's tool call before it.")
            return
    if turns[-1].role != "assistant":
        yield problem(
            f"The last turn is the {turns[-1].role}'s", "End on an answer: nothing is learnt from the last turn."
        )


def _encoding(number: int, position: int, text: str) -> Problem | None:
    lost = _LOST.search(text)
    if lost:
        name = "U+FFFD, where a character was lost" if lost[0] == "\ufffd" else f"the control code {ord(lost[0]):#04x}"
        return Problem(
            number,
            Kind.ENCODING,
            f"Turn {position} contains {name}",
            "Read the source again in its own encoding and save it as UTF-8.",
        )
    broken = _MOJIBAKE.search(text) if not text.isascii() else None
    if broken:
        return Problem(
            number,
            Kind.ENCODING,
            f"Turn {position} contains {broken[0]!r}{_meant(broken[0])}: UTF-8 that was read as Latin",
            "Read the source again as UTF-8.",
        )
    return None


def _meant(broken: str) -> str:
    for encoding in ("cp1252", "latin-1"):
        try:
            return f" for {broken.encode(encoding).decode('utf-8')!r}"
        except (UnicodeEncodeError, UnicodeDecodeError):
            continue
    return ""


def _cut(number: int, answer: str) -> Iterator[Problem]:
    """An odd number of code fences; a last word no sentence ends on; a comma or open bracket at the end; or at
    least 240 characters in one paragraph whose last line, longer than 60, ends without any closing mark."""
    advice = "Look at the row: if it was cut at a maximum length, generate it again with a larger one."
    if answer.count("```") % 2:
        yield Problem(number, Kind.CUT, "The answer ends inside a code block", advice)
        return
    tail = answer[-40:]
    words = _WORD.findall(tail)
    many = " " in answer.strip()
    if many and answer[-1:].isalpha() and words and words[-1].lower() in _DANGLING and words[-1].islower():
        yield Problem(number, Kind.CUT, f"The answer ends on {words[-1]!r}", advice)
    elif many and answer[-1] in ",([{/&":
        yield Problem(number, Kind.CUT, f"The answer ends on {answer[-1]!r}", advice)
    elif len(answer) >= _LONG and not answer.endswith(_ENDS):
        last = answer.rsplit("\n", 1)[-1]
        if len(last) > 60 and answer[-1].isalpha() and answer[-1].isascii():
            yield Problem(number, Kind.CUT, "A long answer ends without a full stop", advice)


def _unrelated(number: int, question: str, answer: str) -> Iterator[Problem]:
    """The answer is the question again; or a question of at least four content words and an answer of at least
    six words share no stem (first four letters). Left out are requests to rewrite or translate, answers that say
    they do not know, and other scripts."""
    advice = "Read both: if the answer belongs to another row, columns or rows were shifted."
    if len(question) > 400 or _REWRITE.search(question):
        return
    # Twice the question's length is room enough for a repetition with other punctuation.
    if len(answer) <= 2 * len(question) and _plain(question) and _plain(answer) == _plain(question):
        yield Problem(number, Kind.UNRELATED, "The answer only repeats the question", advice)
        return
    if not _QUESTION.match(question) or not question.isascii():
        return
    asked, said = _plain(question), _plain(answer)
    stems = {word[:4] for word in asked.split() if len(word) > 3 and word not in _COMMON}
    words = said.split()
    if _DECLINES.search(answer[:400]):
        return
    if len(stems) >= 4 and len(words) >= 6 and said.isascii() and not stems & {word[:4] for word in words}:
        yield Problem(number, Kind.UNRELATED, "The answer shares no word with its question", advice)


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(text.lower()))
