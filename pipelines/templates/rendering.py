"""A conversation through a chat template: the text, whose every character is, and what the assistant must write.

The text is transformers' own (`render_jinja_template`, the function behind `apply_chat_template`), character
for character, errors included. The spans come from a second rendering that follows the text
(`tracing.py`) and is only believed if it gives the very same text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from pipelines.errors import InputError
from pipelines.messages import Message, as_dicts
from pipelines.templates.answers import Headers, find_answers
from pipelines.templates.search import traced_by_search
from pipelines.templates.traced import Origin
from pipelines.templates.tracing import traced_messages, tracing_template
from pipelines.templates.types import Rendered, Span, SpanKind, TemplateEntry

# A stretch of characters: (end, the message whose turn printed it, the message whose words they are)
Stretch = tuple[int, Origin, Origin]


def render(
    messages: Sequence[Message],
    template: TemplateEntry,
    *,
    add_generation_prompt: bool = False,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> Rendered:
    """The conversation as `tokenizer.apply_chat_template(…, tokenize=False)` gives it, tiled by spans.

    Raises InputError with the template's own message when it refuses the conversation or fails.
    """
    chat = [{key: value for key, value in item.items() if value is not None} for item in as_dicts(messages)]
    text = plain_text(chat, template, add_generation_prompt, tools)
    roles = tuple(message.role for message in messages)
    stretches = _follow(chat, template, add_generation_prompt, tools, text)
    if stretches is None:
        stretches = traced_by_search(text, [message.content for message in messages])
    spans = _spans(stretches, roles, add_generation_prompt)
    headers = headers_of(template) if "assistant" in roles else Headers()
    return Rendered(text, spans, find_answers(text, stretches, roles, headers))


def plain_text(
    chat: Sequence[Mapping[str, Any]],
    template: TemplateEntry,
    add_generation_prompt: bool = False,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """The text alone, by transformers. Raises InputError with the template's own message."""
    from transformers.utils.chat_template_utils import render_jinja_template

    try:
        rendered, _ = render_jinja_template(
            conversations=[list(chat)],
            tools=list(tools) if tools else None,
            chat_template=template.jinja,
            add_generation_prompt=add_generation_prompt,
            **template.special_tokens,
        )
    except Exception as error:  # a template is somebody's program: it can raise anything
        raise template_error(error, template.title or template.key) from error
    return str(rendered[0])


def template_error(error: Exception, title: str) -> InputError:
    """What the template said, with its line where Jinja knows it."""
    from jinja2 import TemplateError, TemplateSyntaxError

    if isinstance(error, InputError):
        return error
    message = str(error) or type(error).__name__
    if isinstance(error, TemplateSyntaxError):
        return InputError(f"line {error.lineno}: {message}", "jinja", "Correct the template at this line.")
    said = message if isinstance(error, TemplateError) else f"{type(error).__name__}: {message}"
    line = line_of(error)
    where = f" (line {line})" if line else ""
    return InputError(f"the template {title} refuses this conversation{where}: “{said}”", "template")


def line_of(error: BaseException) -> int | None:
    """The line of the template where an error arose, from the traceback that Jinja rewrites."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in ("<template>", "<unknown>"):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


@lru_cache(maxsize=512)
def _headers(jinja: str, special_tokens: tuple[tuple[str, str], ...]) -> Headers:
    entry = TemplateEntry("", "", (), jinja, dict(special_tokens))
    user, assistant = {"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}
    prompt = ""
    for asked in ([user], [assistant]):
        try:
            prompt = _appended(plain_text(asked, entry, True), plain_text(asked, entry, False))
            break
        except InputError:
            continue
    plain = ""
    for chat in ([user, assistant, user, assistant], [assistant, user, assistant]):
        try:
            text = plain_text(chat, entry)
        except InputError:
            continue
        stretches = _follow(chat, entry, False, None, text)
        befores = _before_words(text, stretches or [], [message["role"] for message in chat])
        plain = _shared(befores)
        break
    return Headers(prompt, plain)


def _appended(with_prompt: str, without: str) -> str:
    """What the generation prompt adds. Some finished conversations end in what the other lacks (Phi-3's EOS): then the
    prompt begins at a token, not inside the one whose first characters both share."""
    shared = len(_shared([with_prompt, without]))
    if shared < len(without):
        opened = max(with_prompt.rfind(bracket, 0, shared) for bracket in "<[")
        closed = max(with_prompt.rfind(bracket, 0, shared) for bracket in ">]")
        shared = opened if opened > closed else shared
    return with_prompt[shared:]


def _shared(texts: Sequence[str]) -> str:
    """The longest text with which all of them begin."""
    if not texts:
        return ""
    low, high = min(texts), max(texts)
    same = next((at for at, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return low[:same]


def _before_words(text: str, stretches: Sequence[Stretch], roles: Sequence[str]) -> list[str]:
    """What stands before the words of each assistant's turn, in that turn."""
    found, start, pending = [], 0, None
    for end, turn, origin in stretches:
        if turn is not None and roles[turn] == "assistant":
            if origin is None and pending is None:
                pending = text[start:end]
            elif origin is not None:
                found.append(pending or "")
                pending = ""
        else:
            pending = None
        start = end
    return found


def headers_of(template: TemplateEntry) -> Headers:
    """What the template writes before answers, found by rendering and remembered."""
    return _headers(template.jinja, tuple(sorted(template.special_tokens.items())))


def _follow(
    chat: Sequence[Mapping[str, Any]],
    template: TemplateEntry,
    add_generation_prompt: bool,
    tools: Sequence[Mapping[str, Any]] | None,
    text: str,
) -> list[Stretch] | None:
    """Stretches of the text with their turn and origin; None if following changed the text."""
    from transformers.utils.chat_template_utils import _alias_reasoning_fields, _plain_template_data

    variables: dict[str, Any] = dict(template.special_tokens)
    variables["messages"] = _realias(traced_messages(chat), _alias_reasoning_fields)
    variables["tools"] = _plain_template_data(list(tools)) if tools else None
    variables["documents"] = None
    variables["add_generation_prompt"] = add_generation_prompt
    stretches: list[Stretch] = []
    pieces: list[str] = []
    position = 0
    try:
        for chunk, runs, turn in tracing_template(template.jinja).render(variables):
            pieces.append(chunk)
            for length, origin in runs:
                position += length
                if stretches and stretches[-1][1:] == (turn, origin):
                    stretches[-1] = (position, turn, origin)
                else:
                    stretches.append((position, turn, origin))
    except Exception:  # the plain rendering went through; the search below takes over
        return None
    return stretches if "".join(pieces) == text else None


def _realias(messages: list[Any], alias: Any) -> list[Any]:
    """transformers copies reasoning under its other names; the copies stay traced messages."""
    for message, aliased in zip(messages, alias(messages), strict=True):
        if aliased is not message:
            message.update(aliased)
    return messages


def _spans(stretches: Sequence[Stretch], roles: Sequence[str], prompted: bool) -> tuple[Span, ...]:
    spans: list[Span] = []
    start, last = 0, len(stretches) - 1
    for number, (end, turn, origin) in enumerate(stretches):
        owner = turn if origin is None else origin
        if owner is not None:
            role = roles[owner]
        elif not spans:
            role = "system"
        else:
            role = "assistant" if prompted and number == last else spans[-1].role
        kind: SpanKind = "control" if origin is None else "content"
        if spans and (spans[-1].role, spans[-1].kind, spans[-1].message) == (role, kind, owner):
            start = spans.pop().start
        spans.append(Span(role, kind, start, end, owner))
        start = end
    return tuple(spans)
