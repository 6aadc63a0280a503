"""Which instructions that a model wrote are kept, by the rules of Self-Instruct.

Wang et al. 2023, Self-Instruct: Aligning Language Models with Self-Generated Instructions (arXiv 2212.10560), and the
authors' code (github.com/yizhongw/self-instruct, `bootstrap_instructions.py`): length, first character, subjects that
a text model cannot see, and ROUGE-L against every instruction of the pool.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

ROUGE_LIMIT = 0.7
FEWEST_WORDS, MOST_WORDS = 4, 150
_UNSEEN = re.compile(r"\b(images?|graphs?|pictures?|files?|maps?|draw|plot|go to)\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")

Words = tuple[str, ...]


def words_of(text: str) -> Words:
    """Letters and digits in lower case, as the `rouge-score` package takes them, in any script."""
    return tuple(_WORD.findall(text.lower()))


def rouge_l(left: Words, right: Words) -> float:
    """F-measure of the longest common subsequence of words, 0 to 1 (Lin 2004)."""
    if not left or not right:
        return 0.0
    # row[j]: longest common subsequence of the words of `left` so far and the first j of `right`.
    row = [0] * (len(right) + 1)
    for word in left:
        diagonal = 0
        for at, other in enumerate(right, start=1):
            above = row[at]
            row[at] = diagonal + 1 if word == other else max(above, row[at - 1])
            diagonal = above
    # 2PR / (P + R) with P = L/n and R = L/m is 2L / (n + m).
    return 2 * row[-1] / (len(left) + len(right))


def nearest(words: Words, pool: Iterable[tuple[str, Words]]) -> tuple[float, str]:
    """The largest ROUGE-L with an instruction of the pool, and that instruction. Stops at the same words."""
    best, found = 0.0, ""
    for text, other in pool:
        # No common subsequence is longer than the shorter of the two.
        if 2 * min(len(words), len(other)) <= best * (len(words) + len(other)):
            continue
        score = rouge_l(words, other)
        if score > best:
            best, found = score, text
            if best == 1.0:
                break
    return best, found


def instruction_fault(text: str) -> str:
    """Why an instruction is no instruction for a language model, or an empty text."""
    count = len(text.split())
    if count < FEWEST_WORDS:
        return f"too short: {count} of at least {FEWEST_WORDS} words"
    if count > MOST_WORDS:
        return f"too long: {count} words, at most {MOST_WORDS}"
    if not text[0].isalnum():
        return f"form: begins with {text[0]!r}"
    unseen = _UNSEEN.search(text)
    if unseen:
        return f"subject: “{unseen[0]}” is nothing a text model can see or do"
    if text.startswith("Write a program"):
        return "subject: asks for a program"
    return ""


def answer_fault(instruction: str, answer: str, cut: bool) -> str:
    """Why an answer does not do, or an empty text. cut: it was stopped at its maximum length."""
    if cut:
        return "answer: cut off at its maximum length"
    if not words_of(answer):
        return "answer: empty"
    if words_of(answer) == words_of(instruction):
        return "answer: repeats the instruction"
    return ""


def lines_of(text: str, whole: bool) -> Sequence[str]:
    """The instructions of a continuation, one to a line, numbers and blanks taken off. whole: it was not cut off, so
    that its last line is complete."""
    lines = text.split("\n") if whole else text.split("\n")[:-1]
    return [line for raw in lines if (line := re.sub(r"^\s*\d+\s?[.)]\s*", "", raw).strip())]
