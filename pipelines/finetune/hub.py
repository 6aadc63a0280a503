"""A run's adapter (or model) as a repository on the Hugging Face Hub. Nothing is sent before `push` is called.

Whose account: a token is handed in for each push and kept nowhere. `machine_token` is the login of the machine that the
studio runs on; whether a visitor may use that one is for the page to decide, which knows where the visitor sits.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError
from pipelines.finetune.exports import export
from pipelines.finetune.run import RunDirectory

if TYPE_CHECKING:
    from pipelines.models import ModelManager

PUSHED = ("adapter", "merged")  # the exports that are model folders
# What the Hub takes as a name, with the account before it or without: letters, digits, - _ . and neither -- nor ..
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_NAME = re.compile(rf"(?:({_PART})/)?({_PART})")
_ADVICE = "Write a name such as my-first-adapter, or account/my-first-adapter."


@dataclass(frozen=True, slots=True)
class Pushed:
    """Where a push went. `account`: the person or organisation that owns it."""

    account: str
    address: str
    private: bool


def machine_token() -> str | None:
    """The token that this machine is logged in with (HF_TOKEN, or what `hf auth login` kept); asks nobody."""
    from huggingface_hub import get_token

    return get_token()


def parse_name(text: str) -> tuple[str, str]:
    """(account or "", name) of a repository. Raises InputError for what the Hub would not take."""
    found = _NAME.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None or "--" in found[2] or ".." in found[2] or found[2].endswith((".git", ".ipynb")):
        shown = str(text).strip()[:60]
        raise InputError(f"'{shown}' is no name for a repository" if shown else "is empty", "repository", _ADVICE)
    return found[1] or "", found[2]


def push(
    run: RunDirectory, tool: str, repository: str, token: str | None, manager: ModelManager, private: bool = True
) -> Pushed:
    """Create the repository and send the folder of `tool` with its card, in one commit.

    An existing repository is only written to when it is empty or came from this run. Raises InputError for a name, a
    run without an adapter, a missing login, no network, or what the Hub refuses.
    """
    owner, name = parse_name(repository)
    if tool not in PUSHED:
        raise InputError(f"'{str(tool)[:40]}' is no folder of a model", "what", f"Use one of: {', '.join(PUSHED)}.")
    if not token:
        raise InputError("nobody is logged in", "Hub", LOGIN_ADVICE)
    with tempfile.TemporaryDirectory() as directory:
        archive = export(run, tool, Path(directory), manager)
        zipfile.ZipFile(archive).extractall(directory)
        folder = archive.with_suffix("")
        try:
            return _send(hub_api(token), folder, owner, name, private, run.id)
        except Exception as error:
            raise _told(error) from error


LOGIN_ADVICE = "Run hf auth login on the machine of the studio, or set HF_TOKEN to a token that may write."


def hub_api(token: str) -> Any:
    """huggingface_hub's client with that token."""
    from huggingface_hub import HfApi

    return HfApi(token=token)


def _send(api: Any, folder: Path, owner: str, name: str, private: bool, run_id: str) -> Pushed:
    who = api.whoami()
    own = [who["name"], *(group["name"] for group in who.get("orgs", ()))]
    account = next((one for one in own if one.lower() == owner.lower()), None) if owner else who["name"]
    if account is None:
        advice = f"Write one of: {', '.join(own)}."
        raise InputError(f"you are {who['name']}, who is not in {owner}", "repository", advice)
    repo_id = f"{account}/{name}"
    if api.repo_exists(repo_id) and not _is_ours(api, repo_id, run_id):
        raise InputError(f"{repo_id} exists, and is not of this run", "repository", "Choose another name.")
    api.create_repo(repo_id, private=private, exist_ok=True)
    api.upload_folder(repo_id=repo_id, folder_path=str(folder), commit_message=_message(run_id))
    return Pushed(account, f"{api.endpoint}/{repo_id}", private)


def _is_ours(api: Any, repo_id: str, run_id: str) -> bool:
    """Whether pushing again destroys nothing: the repository holds nothing yet, or this run."""
    if set(api.list_repo_files(repo_id)) <= {".gitattributes"}:  # a push that broke off left it so
        return True
    return any(_message(run_id) == commit.title for commit in api.list_repo_commits(repo_id))


def _message(run_id: str) -> str:
    # Six digits tell it from others; the whole id would let its reader see and stop the run.
    return f"Add run {run_id[:6]} of the fine-tuning studio"


def _told(error: Exception) -> InputError:
    """What happened, in a sentence with something to do; never the request, which has the token in its headers."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, InputError):
        return error
    if isinstance(error, OfflineModeIsEnabled):
        return InputError("this studio was started offline", "Hub", "Start it without HF_HUB_OFFLINE, or download it.")
    if isinstance(error, HfHubHTTPError):
        status = getattr(error.response, "status_code", 0)
        if status in (401, 403):
            return InputError("the Hub does not accept this login for writing", "Hub", LOGIN_ADVICE)
        said = str(getattr(error, "server_message", "") or "").strip()[:200] or f"status {status}"
        return InputError(f"the Hub refused: {said}", "Hub", "Nothing is lost: download it, or try another name.")
    if isinstance(error, OSError) or type(error).__module__.startswith(("httpx", "httpcore")):
        return InputError("the Hub cannot be reached from here", "Hub", "Look at the network, or download it.")
    raise error
