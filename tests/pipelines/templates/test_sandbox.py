"""Own Jinja: correct where it is well-behaved, a clear error within 2 seconds where it is not."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.errors import InputError
from pipelines.messages import Message
from pipelines.templates import get_template, render, sandbox
from pipelines.templates.record import render_any, render_record
from tests.pipelines.templates.conversations import CONVERSATIONS

HELLO = (Message("user", "hi"), Message("assistant", "yo"))


@pytest.mark.parametrize("key", ["chatml", "qwen3", "llama2"])
def test_a_template_renders_in_the_sandbox_as_outside(key: str) -> None:
    entry = get_template(key)
    assert render_any(HELLO, key, jinja=entry.jinja) == render(HELLO, entry)


def test_the_named_template_lends_its_special_tokens() -> None:
    record = render_record(CONVERSATIONS["answer"], "llama3", jinja="{{ bos_token }}{{ messages[0].content }}")
    assert record["text"] == "<|begin_of_text|>2+2?"
    assert record["spans"] == [
        {"role": "system", "kind": "control", "start": 0, "end": 17},
        {"role": "user", "kind": "content", "start": 17, "end": 21},
    ]


@pytest.mark.parametrize(
    "jinja, said",
    [
        ("a\nb\n{% if %}", r"line 3: Expected an expression"),
        ("a\n{{ raise_exception('no way') }}", r"\(line 2\): “no way”"),
        ("a\n\n{{ messages[5].content }}", r"\(line 3\): “list object has no element 5”"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", r"RecursionError"),
        ("{{ ''.__class__.__mro__ }}", r"access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ cycler.__init__.__globals__.os.popen('id').read() }}", r"'__init__' of 'type' object is unsafe"),
        ("{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}", r"RecursionError"),
        ("{% include '/etc/passwd' %}", r"no loader"),
        ("{% import 'os' as os %}", r"no loader"),
        ("{{ messages.append(1) }}", r"attribute 'append' of 'list' object is unsafe"),
        ("{{ messages[0].update(role='system') }}", r"attribute 'update' of 'dict' object is unsafe"),
        ("{{ '{0.__class__.__mro__}'.format(messages) }}", r"attribute '__class__' of 'list' object is unsafe"),
        ("{{ [].__class__.__base__.__subclasses__() }}", r"attribute '__class__' of 'list' object is unsafe"),
        ("{% for i in range(10 ** 8) %}x{% endfor %}", r"Range too big"),
        ("{{ 'x' * 900000000 }}", r"more than 512 MiB"),
        ("{{ 'x' | center(10 ** 10) }}", r"more than 512 MiB"),
        ("{{ messages | tojson(indent=10 ** 9) }}", r"more than 512 MiB"),
    ],
)
def test_a_bad_template_says_what_and_where(jinja: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        render_any(HELLO, "chatml", jinja=jinja)


def test_what_the_tracing_adds_is_hidden_from_templates() -> None:
    jinja = "{{ messages[0].content._runs }}{{ messages[0]._position }}{{ trace_note }}|"
    assert render_any(HELLO, "chatml", jinja=jinja).text == "|"


@pytest.mark.parametrize(
    "jinja",
    [
        "{{ lipsum.__globals__ }}",
        "{{ self.__init__ }}",
        "{{ messages | attr('__class__') }}",
        "{{ '{0.__class__}'.format(messages) }}",
        "{{ raise_exception.__globals__ }}",
        "{{ strftime_now.__globals__ }}",
        "{{ namespace(a=1).__class__ }}",
        "{{ dict(a=1).__class__ }}",
    ],
)
def test_no_way_out_of_the_sandbox_shows_anything(jinja: str) -> None:
    assert render_any(HELLO, "chatml", jinja=f"{jinja}|").text == "|"


@pytest.mark.parametrize(
    "jinja",
    [
        "{% set n = namespace(x=[]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
        "{{ ('a' * 10 ** 6) | replace('', 'b' * 10 ** 6) }}",
        "{{ strftime_now('%Y' * 10 ** 7) }}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
    ],
)
def test_work_that_doubles_at_each_step_is_stopped(jinja: str) -> None:
    with pytest.raises(InputError, match=r"more than (2 seconds|512 MiB)"):
        render_any(HELLO, "chatml", jinja=jinja)


def test_who_finds_too_many_waiting_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    class Slow:
        def ask(self, request: object) -> dict[str, object]:
            release.wait(30)
            return {"text": "", "spans": [], "answers": []}

    pool = sandbox._Pool()
    monkeypatch.setattr(pool, "_take", Slow)
    monkeypatch.setattr(sandbox, "warm_up", lambda: None)
    places = sandbox.WORKERS + sandbox.MOST_WAITING
    with ThreadPoolExecutor(places) as visitors:
        asked = [visitors.submit(pool.ask, {}) for _ in range(places)]
        while pool._asked < places:
            time.sleep(0.01)
        with pytest.raises(InputError, match="Try again in a moment"):
            pool.ask({})
        release.set()
        assert all(each.result(timeout=30)["text"] == "" for each in asked)


def test_endless_work_is_stopped_and_the_next_template_is_served() -> None:
    begin = time.monotonic()
    with pytest.raises(InputError, match=r"more than 2 seconds"):
        render_any(
            HELLO, "chatml", jinja="{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
        )
    assert time.monotonic() - begin < 15  # two seconds, and a process that may have to start
    assert render_any(HELLO, "chatml", jinja="{{ messages[1].content }}").text == "yo"


def test_a_megabyte_of_content_is_rendered() -> None:
    big = (Message("user", "x" * 1_000_000),)
    assert len(render_any(big, "chatml", jinja=get_template("chatml").jinja).text) == 1_000_028


def test_tools_that_are_not_a_list_are_refused() -> None:
    with pytest.raises(InputError, match=r"tools: not a list of JSON schemas"):
        render_record(CONVERSATIONS["answer"], "qwen3", tools="weather")
