"""`{% generation %}` markers for a template that has none, so that TRL's `assistant_only_loss=True` trains on our mask.

The template is taken apart (`canonical.py`) and followed through about twenty conversations: for each output it is seen
which of its characters the assistant has to write. Then each such output is put into a generation block, or split into
the part before, the part inside and the part after. What comes out is only offered if it renders the same text and if
transformers' own mask covers exactly the characters of ours, on conversations with other words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from pipelines.errors import InputError
from pipelines.messages import parse_messages
from pipelines.templates.canonical import Piece, literal, opens, pieces_of, source_of
from pipelines.templates.probes import Probe, probes
from pipelines.templates.rendering import render
from pipelines.templates.tracing import OutputTracer
from pipelines.templates.types import Rendered, TemplateEntry

_MARKED = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True, slots=True)
class Marked:
    """jinja: the template with markers; None when there is none that holds, and then `reason` says why.

    own: the template had right markers of its own, and `jinja` is its own text
    """

    jinja: str | None
    reason: str = ""
    own: bool = False


@dataclass(frozen=True, slots=True)
class _Seen:
    """What an output wrote once: its text, the part of it inside an answer (None: none), and whether that answer had
    begun before. after: it follows the end of an answer."""

    text: str
    inside: tuple[int, int] | None
    begun: bool
    after: bool


def with_markers(template: TemplateEntry) -> Marked:
    """The template with generation markers, verified; or why there is none. Some seconds; remembered."""
    return _with_markers(template.jinja, tuple(sorted(template.special_tokens.items())))


@lru_cache(maxsize=128)
def _with_markers(jinja: str, special_tokens: tuple[tuple[str, str], ...]) -> Marked:
    entry = TemplateEntry("probe", "probe", (), jinja, dict(special_tokens))
    if _MARKED.search(jinja) and not mask_fault(jinja, entry):
        return Marked(jinja, own=True)
    pieces = [piece for piece in pieces_of(jinja) if piece.word not in ("generation", "endgeneration")]
    try:
        seen = _observe(pieces, entry)
        made = _rewrite(pieces, seen)
    except _Impossible as reason:
        return Marked(None, str(reason))
    fault = mask_fault(source_of(made), entry)
    if fault == _IN_PARTS:
        never_after = {id(piece) for at, piece in enumerate(pieces) if not any(each.after for each in seen.get(at, []))}
        made = _gathered(made, never_after)
        fault = mask_fault(source_of(made), entry)
    return Marked(None, fault) if fault else Marked(source_of(made))


class _Impossible(Exception):
    """Why a template cannot be marked, as a sentence."""


# transformers finds a block's last token by its last character; of a character cut into several tokens that is the
# first one, so a block may not end inside an answer.
_IN_PARTS = "the answers are marked in several parts"


def mask_fault(jinja: str, template: TemplateEntry, word: str = "zebra") -> str:
    """Why a marked text does not do for `template`: other text, or another mask, and on what; empty if it does."""
    marked = replace(template, jinja=jinja)
    tried, in_parts = 0, False
    for probe in probes(word):
        try:
            rendered = _render(probe, template)
        except InputError:
            continue
        tried += 1
        try:
            text, ranges = _transformers_mask(probe, marked)
        except Exception as error:
            return f"with markers, the template fails on {probe.name}: {error}"
        if text != rendered.text:
            return f"with markers, the text of {probe.name} changes"
        answers = _merged([(answer.start, answer.end) for answer in rendered.answers])
        if _merged(ranges) != answers:
            return f"the markers of {probe.name} cover other characters than the answers"
        in_parts = in_parts or len([pair for pair in ranges if pair[0] < pair[1]]) > len(rendered.answers)
    if in_parts:
        return _IN_PARTS
    return "" if tried else "the template renders none of the probes"


def _render(probe: Probe, template: TemplateEntry) -> Rendered:
    return render(parse_messages(probe.chat), template, tools=probe.tools)


def _transformers_mask(probe: Probe, template: TemplateEntry) -> tuple[str, list[tuple[int, int]]]:
    """The text and the generated characters, by the function behind `return_assistant_tokens_mask`."""
    from transformers.utils.chat_template_utils import render_jinja_template

    texts, ranges = render_jinja_template(
        conversations=[probe.chat],
        tools=probe.tools,
        chat_template=template.jinja,
        return_assistant_tokens_mask=True,
        **template.special_tokens,
    )
    return str(texts[0]), list(ranges[0])


def _merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in order, those that touch made one, empty ones left out."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(pair for pair in ranges if pair[0] < pair[1]):
        if merged and merged[-1][1] >= start:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _observe(pieces: Sequence[Piece], template: TemplateEntry) -> Mapping[int, list[_Seen]]:
    """What each output (by its place among the pieces) wrote on the probes."""
    tracer = OutputTracer(
        source_of(
            [
                Piece("output", f"{OutputTracer.NAME}({at}, ({piece.text}))") if piece.kind == "output" else piece
                for at, piece in enumerate(pieces)
            ]
        )
    )
    seen: dict[int, list[_Seen]] = {}
    for probe in probes():
        try:
            rendered = _render(probe, template)
        except InputError:
            continue
        answers = _merged([(answer.start, answer.end) for answer in rendered.answers])
        position = 0
        for at, text in tracer.outputs(probe.chat, probe.tools, template.special_tokens):
            start, position = position, position + len(text)
            parts = [
                (max(a, start) - start, min(b, position) - start) for a, b in answers if a < position and b > start
            ]
            if len(parts) > 1:
                raise _Impossible("one expression of the template writes several answers at once")
            begun = any(a < start < b for a, b in answers)
            seen.setdefault(at, []).append(
                _Seen(text, parts[0] if parts else None, begun, any(start == b for _, b in answers))
            )
        if position != len(rendered.text):
            raise _Impossible(f"taken apart, the template renders {probe.name} differently")
    return seen


def _rewrite(pieces: Sequence[Piece], seen: Mapping[int, list[_Seen]], track: bool = False) -> list[Piece]:
    """The pieces with generation blocks round what is inside answers. track: keep in `turn_state` whether the answer
    has begun, for an output whose first characters are header or not depending on that."""
    made: list[Piece] = []
    loops: list[tuple[str, int]] = []  # the variable of each open loop, and where its body begins in `made`
    stack: list[bool] = []
    resets: set[int] = set()
    for at, piece in enumerate(pieces):
        if piece.kind == "output":
            body = _marked_output(piece, seen.get(at, []), [name for name, _ in loops])
            if any("turn_state.begun else" in each.text for each in body):
                if not track:
                    return _rewrite(pieces, seen, track=True)
                resets.add(dict(loops)[_message_loop([name for name, _ in loops])])
            if track and len(body) > 1:
                closed = max(number for number, each in enumerate(body) if each.word == "endgeneration")
                body.insert(closed + 1, Piece("block", "set turn_state.begun = true"))
            made += body
            continue
        made.append(piece)
        if piece.word == "for":
            loops.append((piece.text.split()[1].rstrip(","), len(made)))
            stack.append(True)
        elif opens(piece):
            stack.append(False)
        elif piece.word.startswith("end") and stack and stack.pop():
            loops.pop()
    for at in sorted(resets, reverse=True):
        made.insert(at, Piece("block", "set turn_state = namespace(begun=false)"))
    return _joined(made)


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Generation blocks that follow each other made one."""
    made: list[Piece] = []
    for piece in pieces:
        kept = made
        begun = Piece("block", "set turn_state.begun = true")
        if piece.word == "generation" and kept and kept[-1].word == "endgeneration":
            kept.pop()
        elif piece.word == "generation" and len(kept) > 1 and kept[-1] == begun and kept[-2].word == "endgeneration":
            kept.pop()
            kept.pop()
        else:
            kept.append(piece)
    return made


def _gathered(pieces: Sequence[Piece], never_after: Collection[int]) -> list[Piece]:
    """The same, with one generation block to an answer: its parts are gathered and written when it is over.

    never_after: outputs (by identity) that never come right after an answer, so that nothing waits before them
    """
    begin, end = _loop_of_answers(pieces)
    made: list[Piece] = list(pieces[:begin])
    made.append(Piece("block", "set turn_said = namespace(text='')"))
    inside = False
    for piece in pieces[begin:end]:
        if piece.word in ("generation", "endgeneration"):
            inside = piece.word == "generation"
        elif piece.kind == "output" and inside:
            made.append(Piece("block", f"set turn_said.text = turn_said.text ~ ({piece.text})"))
        elif piece.kind == "block" or id(piece) in never_after:
            made.append(piece)
        elif _is_literal(piece.text):
            made += [*_write_said(), piece]
        else:  # it may write nothing, and then the answer is not over
            more = [Piece("block", f"set turn_more = {piece.text}"), *_write_said("turn_more and ")]
            made += [*more, Piece("output", "turn_more")]
    return [*made, *_write_said(), *pieces[end:]]


def _write_said(condition: str = "") -> list[Piece]:
    """Write what has been gathered of an answer, if there is any."""
    return [
        Piece("block", f"if {condition}turn_said.text"),
        *_generation("turn_said.text"),
        Piece("block", "set turn_said.text = ''"),
        Piece("block", "endif"),
    ]


def _loop_of_answers(pieces: Sequence[Piece]) -> tuple[int, int]:
    """Where the body of the outermost loop with a generation block begins, and where it ends."""
    stack: list[int] = []
    for at, piece in enumerate(pieces):
        if opens(piece):
            stack.append(at)
        elif piece.word.startswith("end"):
            begin = stack.pop()
            within = any(each.word == "generation" for each in pieces[begin:at])
            if pieces[begin].word == "for" and within and not any(pieces[outer].word == "for" for outer in stack):
                return begin + 1, at
    raise _Impossible("what the assistant says is written outside every loop over the messages")


def _marked_output(piece: Piece, seen: Sequence[_Seen], loops: Sequence[str]) -> list[Piece]:
    inside = [(each, each.inside) for each in seen if each.inside]
    if not inside:
        return [piece]
    heads = {each.text[:start] for each, (start, _) in inside}
    tails = {each.text[end:] for each, (_, end) in inside}
    whole = heads == tails == {""}
    body = _generation(piece.text) if whole else _split(piece, heads, tails, [each for each, _ in inside])
    if len(inside) == len(seen):
        return body
    if not loops:
        raise _Impossible("what the assistant says is written outside every loop over the messages")
    condition = f"{_message_loop(loops)}['role'] == 'assistant'"
    return [Piece("block", f"if {condition}"), *body, Piece("block", "else"), piece, Piece("block", "endif")]


def _message_loop(loops: Sequence[str]) -> str:
    """The innermost loop is over the messages, unless it is over the calls of one."""
    messages = [name for name in loops if "call" not in name and "tool" not in name and "part" not in name]
    return messages[-1] if messages else loops[-1]


def _generation(expression: str) -> list[Piece]:
    return [Piece("block", "generation"), Piece("output", expression), Piece("block", "endgeneration")]


def _split(piece: Piece, heads: set[str], tails: set[str], seen: Sequence[_Seen]) -> list[Piece]:
    """The output cut where the answer begins and ends."""
    fixed = {each.text for each in seen}
    if len(fixed) == len(heads) == len(tails) == 1 and piece.text[0] in "'\"" and _is_literal(piece.text):
        head, tail, text = next(iter(heads)), next(iter(tails)), next(iter(fixed))
        middle = _generation(literal(text[len(head) : len(text) - len(tail)]))
        return [
            *([Piece("output", literal(head))] if head else []),
            *middle,
            *([Piece("output", literal(tail))] if tail else []),
        ]
    begin = _begin(heads, seen)
    made = [Piece("block", f"set turn = {piece.text}")]
    end = ""
    if len(tails) == 1:
        after = len(next(iter(tails)))
        end = f"-{after}" if after else ""
    elif all(not tail.strip() for tail in tails):
        made.append(Piece("block", "set turn_end = turn.rstrip() | length"))
        end = "turn_end"
    else:
        raise _Impossible("one expression of the template ends answers in several ways")
    if begin != "0":
        made.append(Piece("block", f"set turn_begin = {begin}"))
        made.append(Piece("output", "turn[:turn_begin]"))
    made += _generation(f"turn[{'turn_begin' if begin != '0' else ''}:{end}]")
    if end:
        made.append(Piece("output", f"turn[{end}:]"))
    return made


def _is_literal(expression: str) -> bool:
    """Whether an expression is one string and nothing else."""
    return re.fullmatch(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", expression, re.DOTALL) is not None


def _begin(heads: set[str], seen: Sequence[_Seen]) -> str:
    """An expression for where the answer begins in `turn`."""
    if len(heads) == 1:
        return str(len(next(iter(heads))))
    ordered = sorted(heads, key=len, reverse=True)
    if all(each.inside and each.inside[0] == _longest(ordered, each.text) for each in seen):
        chain = "".join(f"{len(head)} if turn.startswith({literal(head)}) else " for head in ordered[:-1])
        return chain + str(len(ordered[-1]))
    opened = {each.text[: each.inside[0]] for each in seen if each.inside and not each.begun}
    if len(opened) == 1 and all(each.inside and each.inside[0] == 0 for each in seen if each.begun):
        return f"0 if turn_state.begun else {len(next(iter(opened)))}"
    raise _Impossible("one expression of the template writes headers before answers that its text does not tell apart")


def _longest(ordered: Sequence[str], text: str) -> int:
    return next((len(head) for head in ordered if text.startswith(head)), -1)
