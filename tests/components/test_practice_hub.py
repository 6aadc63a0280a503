"""Who may push with whose login, called without a browser."""

from types import SimpleNamespace

import gradio as gr
import pytest

from components import practice_hub
from components.practice_hub import account_note, host_pusher, is_at_the_machine, is_private, visitor_pusher
from pipelines.finetune.hub import Pushed
from pipelines.settings import Settings


def asked(client="127.0.0.1", host="127.0.0.1:7860", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return SimpleNamespace(client=SimpleNamespace(host=client), headers={"host": host, **named})


@pytest.fixture
def pushed(monkeypatch):
    """A push that only remembers its arguments, on a machine that is logged in."""
    calls = []

    def push(run, tool, name, token, manager, private):
        calls.append((run, tool, name, token, private))
        return Pushed("ada", 'https://hub.test/ada/x"><script>', private)

    monkeypatch.setattr(practice_hub, "push", push)
    monkeypatch.setattr(practice_hub, "machine_token", lambda: "the host's token")
    return calls


def studio(**settings):
    return SimpleNamespace(
        settings=Settings(**settings), manager=None, runs=SimpleNamespace(directory=lambda run_id: run_id)
    )


@pytest.mark.parametrize(
    "settings, private",
    [
        ({}, True),
        ({"host": "localhost"}, True),
        ({"host": "::1"}, True),
        ({"host": "0.0.0.0"}, False),
        ({"host": "192.168.1.4"}, False),
        ({"share": True}, False),
    ],
)
def test_a_studio_is_private_while_only_its_own_machine_can_open_it(settings, private):
    assert is_private(Settings(**settings)) is private


def test_a_space_is_never_private(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "ada/studio")
    assert not is_private(Settings())


@pytest.mark.parametrize(
    "request_, at_the_machine",
    [
        (asked(), True),
        (asked(host="localhost:7860"), True),
        (asked(host="[::1]:7860", client="::1"), True),
        (asked(client="192.168.1.9"), False),
        (asked(x_forwarded_for="203.0.113.5"), False),  # a proxy or a tunnel on the same machine
        (asked(host="rebound.example:7860"), False),  # a page elsewhere whose name leads to 127.0.0.1
        (SimpleNamespace(client=None, headers={}), False),
    ],
)
def test_only_who_sits_at_the_machine_uses_its_login(request_, at_the_machine):
    assert is_at_the_machine(request_) is at_the_machine


@pytest.mark.parametrize(
    "settings, request_",
    [({"host": "0.0.0.0"}, asked()), ({}, asked(client="192.168.1.9")), ({"share": True}, asked())],
)
def test_a_visitor_never_pushes_with_the_hosts_login(pushed, settings, request_):
    with pytest.raises(gr.Error, match="open to others"):
        host_pusher(studio(**settings))("run", "adapter", "x", True, request_)
    assert not pushed


def test_the_host_pushes_with_the_machines_login_and_reads_where_it_is(pushed):
    said = host_pusher(studio())("run", "adapter", "x", True, asked())
    assert pushed == [("run", "adapter", "x", "the host's token", True)]
    assert "<b>ada</b>, private" in said and "<script>" not in said


def test_a_visitor_of_a_space_pushes_with_a_token_of_their_own(pushed):
    with pytest.raises(gr.Error, match="login button"):
        visitor_pusher(studio())("run", "adapter", "x", True, None)
    visitor_pusher(studio())("run", "merged", "x", False, SimpleNamespace(token="the visitor's"))
    assert pushed == [("run", "merged", "x", "the visitor's", False)]


def test_a_push_needs_a_run_and_a_name(pushed):
    for run_id, name, said in (("", "x", "no run is shown"), ("run", "a b", "no name for a repository")):
        with pytest.raises(gr.Error, match=said):
            host_pusher(studio())(run_id, "adapter", name, True, asked())
    assert not pushed


def test_the_page_says_whose_account_it_is_without_asking_anyone(monkeypatch, pushed):
    assert "this machine is logged in to" in account_note(Settings(), by_visitor=False)
    assert "token" not in account_note(Settings(host="0.0.0.0"), by_visitor=False)
    monkeypatch.setattr(practice_hub, "machine_token", lambda: None)
    assert "hf auth login" in account_note(Settings(), by_visitor=False)
