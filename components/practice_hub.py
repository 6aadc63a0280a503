"""Push to the Hub: the run shown as a repository of the account that is logged in.

On a Space a visitor logs in with the button of the Hub, and pushes with a token of their own. Elsewhere the machine's
own login is used, and only for who sits at that machine: a studio that others can open lends nobody its host's account.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping
from html import escape
from importlib.util import find_spec
from typing import Any

import gradio as gr

from components.context import Studio
from components.errors import shows_input_errors
from pipelines.errors import InputError
from pipelines.finetune.hub import LOGIN_ADVICE, PUSHED, machine_token, parse_name, push
from pipelines.settings import Settings

_TITLES = {"adapter": "Adapter", "merged": "Merged model"}
_QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_NOT_HERE = "Others can open this studio, so it does not push with its host's login. Download the adapter instead."


def draw_hub(studio: Studio, run: gr.components.Component) -> None:
    """The fields, and a button that sends the run shown. Nothing is asked of the Hub before it is pressed."""
    by_visitor = has_login_button()
    with gr.Accordion("Push to the Hub", open=False, elem_classes="hub"):
        who = gr.Markdown(account_note(studio.settings, by_visitor), elem_classes="hub-account")
        if by_visitor:
            gr.LoginButton(size="sm")
        with gr.Row():
            name = gr.Textbox(
                label="Repository", placeholder="my-first-adapter", max_length=200,
                info="account/name, or a name in your own account",
            )  # fmt: skip
            tool = gr.Radio([(title, key) for key, title in _TITLES.items()], value=PUSHED[0], label="What")
            private = gr.Checkbox(True, label="Private", info="you can open it to others on the Hub later")
        with gr.Row():
            button = gr.Button("Push to the Hub", size="sm", scale=0, min_width=180, elem_classes="hub-push")
        said = gr.HTML("", elem_classes="hub-said")
        handler = visitor_pusher(studio) if by_visitor else host_pusher(studio)
        button.click(handler, [run, tool, name, private], [said], concurrency_limit=2, **_QUIET)
    if by_visitor:
        gr.on(None, visitor_note, None, [who], **_QUIET)


def has_login_button() -> bool:
    """Whether Gradio's button works: on a Space that has OAuth switched on."""
    return bool(os.environ.get("SPACE_ID") and os.environ.get("OAUTH_CLIENT_ID") and find_spec("authlib"))


def account_note(settings: Settings, by_visitor: bool) -> str:
    """Whose account a push would go to, or what to do first; says so without asking the Hub."""
    if by_visitor:
        return "Log in to push to your own account."
    if not is_private(settings):
        return _NOT_HERE
    if machine_token() is None:
        return f"Nobody is logged in. {LOGIN_ADVICE}"
    where = "HF_TOKEN" if os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN") else "`hf auth login`"
    return f"Pushes to the account that this machine is logged in to with {where}; the token is used, never kept."


def visitor_note(profile: gr.OAuthProfile | None) -> str:
    """Whose account it is, once a visitor of a Space is logged in."""
    return f"Pushes to your account, `{profile.username}`." if profile else account_note(Settings(), by_visitor=True)


def host_pusher(studio: Studio) -> Callable[..., str]:
    """The handler of a studio on somebody's own machine."""

    @shows_input_errors
    def send(run_id: str, tool: str, name: str, private: bool, request: gr.Request) -> str:
        if not is_private(studio.settings) or not is_at_the_machine(request):
            raise InputError("this studio is open to others", "Hub", _NOT_HERE.partition(". ")[2])
        return pushed_html(studio, run_id, tool, name, private, machine_token())

    return send


def visitor_pusher(studio: Studio) -> Callable[..., str]:
    """The handler of a Space: the token is the visitor's own, or there is none."""

    @shows_input_errors
    def send(run_id: str, tool: str, name: str, private: bool, token: gr.OAuthToken | None) -> str:
        if token is None:
            raise InputError("nobody is logged in", "Hub", "Press the login button first.")
        return pushed_html(studio, run_id, tool, name, private, token.token)

    return send


def pushed_html(studio: Studio, run_id: str, tool: str, name: str, private: bool, token: str | None) -> str:
    """Push the run shown, and say where it is. Raises InputError."""
    if not run_id:
        raise InputError("no run is shown", "Push to the Hub", "Start one, or choose one.")
    parse_name(name)  # before anything is merged or packed
    done = push(studio.runs.directory(run_id), tool, name, token, studio.manager, bool(private))
    address = escape(done.address, quote=True)
    seen = "private" if done.private else "public"
    return (
        f'<p role="status">In the account <b>{escape(done.account)}</b>, {seen}: '
        f'<a href="{address}" target="_blank" rel="noopener">{address}</a></p>'
    )


def is_private(settings: Settings) -> bool:
    """Whether the studio listens to its own machine alone."""
    return _is_loopback(settings.host) and not settings.share and "SPACE_ID" not in os.environ


def is_at_the_machine(request: gr.Request) -> bool:
    """Whether a request comes from this machine and was meant for it: from no proxy, and by no foreign name."""
    headers: Mapping[str, str] = request.headers
    client = getattr(request.client, "host", "") or ""
    asked = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
    return _is_loopback(client) and _is_loopback(asked) and not any(name in headers for name in _FORWARDED)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
