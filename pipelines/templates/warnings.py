"""What a template does that its user may not expect, found by rendering probes, never by its name.

Each probe is a small conversation; the warning says what was seen. A template nobody has seen before is
examined like any other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pipelines.errors import InputError
from pipelines.messages import Message
from pipelines.templates.rendering import headers_of, plain_text, render
from pipelines.templates.types import Rendered, TemplateEntry

# Words that no template writes by itself.
_SYSTEM, _USER, _ANSWER, _NEXT = "Qsystemq", "Quserq", "Qanswerq", "Qnextq"
_DATE = "Qdateq"
_CONTROL = re.compile(r"<[^<>\s]{1,40}>|\[/?[A-Za-z_]{2,30}\]")

Chat = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class TemplateWarning:
    """key: its name in tests and links; title: a few words; detail: what was seen and what to do."""

    key: str
    title: str
    detail: str


def warnings_of(template: TemplateEntry) -> tuple[TemplateWarning, ...]:
    """The warnings of a template, whatever it is given. About a dozen renderings, remembered."""
    return _warnings(template.jinja, tuple(sorted(template.special_tokens.items())))


@lru_cache(maxsize=256)
def _warnings(jinja: str, special_tokens: tuple[tuple[str, str], ...]) -> tuple[TemplateWarning, ...]:
    entry = TemplateEntry("probe", "probe", (), jinja, dict(special_tokens))
    found: list[TemplateWarning] = []
    for probe in (_system, _default_system, _date, _roles, _double_bos, _prefix, _generation_prompt, _stop):
        found += probe(entry)
    return tuple(found)


def warnings_for(messages: Sequence[Message], rendered: Rendered) -> tuple[TemplateWarning, ...]:
    """The warnings of one conversation in one rendering: forged control text, and messages that do not show."""
    found = []
    control = "".join(rendered.text[span.start : span.end] + "\0" for span in rendered.spans if span.kind == "control")
    forged = []
    for span in rendered.spans:
        if span.kind == "content":
            said = set(_CONTROL.findall(rendered.text[span.start : span.end]))
            forged += [(text, span.message) for text in said if text in control]
    if forged:
        text, number = min(forged, key=lambda pair: (pair[1] or 0, pair[0]))
        detail = (
            f"Message {(number or 0) + 1} says “{text}”, which this template writes as a control token. Tokenized, it "
            "is one: whoever wrote it can end a turn or open another. Encode it as text with sanitize_control_tokens."
        )
        found.append(TemplateWarning("forged-control", "content forges control tokens", detail))
    shown = {span.message for span in rendered.spans if span.kind == "content"}
    lost = [n for n, message in enumerate(messages) if message.content.strip() and n not in shown]
    if lost:
        names = ", ".join(f"{n + 1} ({messages[n].role})" for n in lost)
        detail = f"Of message {names} nothing is left in this rendering: the model never sees it."
        found.append(TemplateWarning("message-dropped", "a message is dropped", detail))
    silent = [n for n, message in enumerate(messages) for name in _called(message) if name not in rendered.text]
    if silent:
        detail = (
            f"The tool calls of message {silent[0] + 1} leave no trace in this rendering: the model never sees them."
        )
        found.append(TemplateWarning("tools-dropped", "tool calls dropped", detail))
    return tuple(found)


def _called(message: Message) -> list[str]:
    """The names of the tools that a message calls."""
    calls = message.extra.get("tool_calls")
    functions = (
        [call.get("function", call) for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    )
    return [str(function["name"]) for function in functions if isinstance(function, dict) and function.get("name")]


def _user(text: str = _USER) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _assistant(text: str = _ANSWER) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _system_message() -> dict[str, Any]:
    return {"role": "system", "content": _SYSTEM}


def _try(entry: TemplateEntry, chat: Chat, prompt: bool = False, **options: Any) -> str | InputError:
    try:
        return plain_text(chat, entry, prompt, **options)
    except InputError as error:
        return error


def _said(error: InputError) -> str:
    """The template's own message, without our sentence around it."""
    match = re.search(r"“(.*)”", error.what, re.DOTALL)
    return match[1] if match else error.what


def _system(entry: TemplateEntry) -> list[TemplateWarning]:
    asked = _try(entry, [_system_message(), _user()])
    finished = _try(entry, [_system_message(), _user(), _assistant()])
    if isinstance(asked, InputError) or isinstance(finished, InputError):
        return []  # refused: `_roles` says so
    cases = [
        name for name, text in (("a question", asked), ("a finished conversation", finished)) if _SYSTEM not in text
    ]
    if not cases:
        return []
    detail = (
        f"In {' and '.join(cases)} the system prompt does not appear: the model never sees it, and nothing says so."
    )
    return [TemplateWarning("system-dropped", "system prompt dropped", detail)]


def _prose(text: str) -> str:
    """The longest stretch of plain words before the question; empty if there are fewer than four."""
    pieces = _CONTROL.split(text[: text.index(_USER)] if _USER in text else "")
    prose = max(pieces, key=len).strip() if pieces else ""
    return prose if len(re.findall(r"[^\W\d_]{2,}", prose)) >= 4 else ""


def _default_system(entry: TemplateEntry) -> list[TemplateWarning]:
    alone = _try(entry, [_user()])
    prose = "" if isinstance(alone, InputError) else _prose(alone)
    if not prose:
        return []
    with_own = _try(entry, [_system_message(), _user()])
    stays = isinstance(with_own, str) and prose.splitlines()[-1] in with_own
    lines = [line.strip() for line in prose.splitlines() if line.strip() not in ("", "system", "user")]
    quoted = " ↵ ".join(lines)
    detail = (
        f"Without a system message the template writes “{quoted[:157] + '…' if len(quoted) > 160 else quoted}”. "
        + ("It stays beside a system prompt of your own." if stays else "A system prompt of your own replaces it.")
    )
    return [TemplateWarning("default-system", "default system prompt inserted", detail)]


def _date(entry: TemplateEntry) -> list[TemplateWarning]:
    from transformers.utils.chat_template_utils import _cached_compile_jinja_template

    template = _cached_compile_jinja_template(entry.jinja)  # a copy of its own, whose clock can be replaced
    asked: list[str] = []

    def clock(form: str) -> str:
        asked.append(form)
        return _DATE

    template.globals["strftime_now"] = clock
    for chat in ([_user()], [_system_message(), _user(), _assistant()]):
        try:
            text = template.render(
                messages=chat, tools=None, documents=None, add_generation_prompt=False, **entry.special_tokens
            )
        except Exception:  # a template that refuses the probe; others have said so
            continue
        if _DATE in text:
            detail = (
                f"The template writes the current date ({asked[0]}): the same conversation is tokenized differently "
                "tomorrow. Give a fixed date (date_string=…, where the template reads it) for training data."
            )
            return [TemplateWarning("date", "today's date inserted", detail)]
    return []


def _roles(entry: TemplateEntry) -> list[TemplateWarning]:
    probes: dict[str, Chat] = {
        "a system message": [_system_message(), _user(), _assistant()],
        "a conversation that begins with the assistant": [_assistant(), _user(_NEXT)],
        "two questions in a row": [_user(), _user(_NEXT), _assistant()],
        "a tool's result": [_user(), _assistant(), {"role": "tool", "name": "f", "content": "x"}, _assistant(_NEXT)],
    }
    found = []
    for name, chat in probes.items():
        text = _try(entry, chat)
        if isinstance(text, InputError):
            detail = f"It refuses {name}: “{_said(text)}”."
            found.append(TemplateWarning("role-refused", "role refused", detail))
    return found[:1] if len(found) < 2 else [_merged(found)]


def _merged(found: Sequence[TemplateWarning]) -> TemplateWarning:
    return TemplateWarning(found[0].key, found[0].title, " ".join(warning.detail for warning in found))


def _double_bos(entry: TemplateEntry) -> list[TemplateWarning]:
    bos = entry.special_tokens.get("bos_token", "")
    text = _try(entry, [_user()])
    # SmolLM2's BOS opens every turn: a token that comes again is no mark of the beginning.
    if not bos or isinstance(text, InputError) or not text.startswith(bos) or text.count(bos) > 1:
        return []
    detail = (
        f"The rendering begins with {bos}, and a tokenizer that adds its own writes it twice. Tokenize renderings "
        "with add_special_tokens=False; llama.cpp and Ollama add one by themselves."
    )
    return [TemplateWarning("double-bos", "double BOS", detail)]


def _prefix(entry: TemplateEntry) -> list[TemplateWarning]:
    thought = f"<think>\nQthoughtq\n</think>\n\n{_ANSWER}"
    for answer in (_ANSWER, thought):
        whole = _try(entry, [_user(), _assistant(answer), _user(_NEXT), _assistant("Qlastq")])
        for first, prompt in (
            ([_user(), _assistant(answer)], False),
            ([_user(), _assistant(answer), _user(_NEXT)], True),
        ):
            part = _try(entry, first, prompt)
            if isinstance(whole, str) and isinstance(part, str) and not whole.startswith(part):
                seen = part[_parting(part, whole) :][:60]
                what = (
                    "a thinking block is dropped from history"
                    if "Qthoughtq" not in whole and "Qthoughtq" in part
                    else (f"the first turns alone render “{_short(seen)}” where the whole conversation does not")
                )
                detail = (
                    f"What was said is written differently once the conversation goes on: {what}. Masks and caches "
                    "made turn by turn are wrong; label the whole rendering, as this studio does."
                )
                return [TemplateWarning("prefix", "not prefix-preserving", detail)]
    return []


def _parting(left: str, right: str) -> int:
    """Where the two part: at the beginning of a token, not inside one whose first characters both share."""
    pairs = enumerate(zip(left, right, strict=False))
    at = next((at for at, (a, b) in pairs if a != b), min(len(left), len(right)))
    opened = left.rfind("<", 0, at)
    return opened if opened > left.rfind(">", 0, at) else at


def _short(text: str) -> str:
    return text.replace("\n", "↵").strip()


def _generation_prompt(entry: TemplateEntry) -> list[TemplateWarning]:
    headers = headers_of(entry)
    if headers.prompt or not headers.plain.strip():
        return []
    detail = (
        f"add_generation_prompt changes nothing, although answers begin with “{_short(headers.plain)}”. "
        "At inference the model has to write that header itself."
    )
    return [TemplateWarning("generation-prompt", "generation prompt missing", detail)]


def _stop(entry: TemplateEntry) -> list[TemplateWarning]:
    try:
        rendered = render([Message("user", _USER), Message("assistant", _ANSWER)], entry)
    except InputError:
        return []
    if not rendered.answers:
        return []
    ending = rendered.text[: rendered.answers[-1].end]
    if not ending.endswith(_ANSWER):
        return []
    detail = (
        "Nothing ends the assistant's turn: the next header does, and the last answer of a conversation has none. "
        "A model trained on it does not learn to stop there."
    )
    return [TemplateWarning("no-stop-token", "no token ends the turn", detail)]
