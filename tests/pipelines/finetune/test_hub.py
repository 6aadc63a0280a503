"""Pushing a run, with a double of the Hub's client; nothing here may touch the network."""

import json
from types import SimpleNamespace

import pytest

from pipelines.errors import InputError
from pipelines.finetune import hub
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.hub import parse_name, push
from pipelines.finetune.preparing import prepare_run
from pipelines.models import ModelManager


class Api:
    """The Hub for one account, ada, who is in the organisation lab; remembers what it was sent."""

    endpoint = "https://hub.test"

    def __init__(self, files=(), titles=()):
        self.files, self.titles, self.created, self.sent = files, titles, None, None

    def whoami(self):
        return {"name": "ada", "orgs": [{"name": "lab"}]}

    def repo_exists(self, repo_id):
        return bool(self.titles)

    def list_repo_files(self, repo_id):
        return list(self.files)

    def list_repo_commits(self, repo_id):
        return [SimpleNamespace(title=title) for title in self.titles]

    def create_repo(self, repo_id, private, exist_ok):
        self.created = (repo_id, private)

    def upload_folder(self, repo_id, folder_path, commit_message):
        from pathlib import Path

        self.sent = {file.name: file.read_text() for file in Path(folder_path).iterdir() if file.suffix != ".bin"}
        self.message = commit_message


@pytest.fixture(scope="module")
def manager(settings):
    return ModelManager(settings)


@pytest.fixture
def run(settings, manager, small_lesson):
    """A stopped run with something in its adapter folder."""
    run = prepare_run(FinetuneConfig.from_dict({"max_steps": 4}), settings.runs_dir, manager)
    with run.folder("adapter") as folder:
        (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": run.model.source}))
    run.set_status("stopped")
    return run


@pytest.fixture
def api(monkeypatch):
    double = Api()
    monkeypatch.setattr(hub, "hub_api", lambda token: double)
    return double


@pytest.mark.parametrize("name, expected", [("my-adapter", ("", "my-adapter")), (" lab/a.b_c ", ("lab", "a.b_c"))])
def test_a_name_may_have_its_account_before_it(name, expected):
    assert parse_name(name) == expected


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b/c", "a--b", "a..b", "-a", "a.git", "x" * 97, None, "<b>"])
def test_a_name_that_the_hub_would_refuse_is_refused_here(name):
    with pytest.raises(InputError, match=r"repository: .*Write a name such as"):
        parse_name(name)


def test_the_adapter_goes_with_its_card_and_curve_into_a_private_repository(run, manager, api):
    done = push(run, "adapter", "my-adapter", "token", manager)
    assert api.created == ("ada/my-adapter", True)
    assert {"adapter_config.json", "README.md", "losses.csv", "losses.svg"} <= set(api.sent)
    assert done.address == "https://hub.test/ada/my-adapter" and done.account == "ada"
    assert not any(run.model.source in text or run.id in text for text in (*api.sent.values(), api.message))


def test_an_organisation_needs_its_member(run, manager, api):
    assert push(run, "adapter", "LAB/my-adapter", "token", manager, private=False).account == "lab"
    assert api.created == ("lab/my-adapter", False)
    with pytest.raises(InputError, match=r"you are ada, who is not in others. Write one of: ada, lab"):
        push(run, "adapter", "others/my-adapter", "token", manager)


def test_a_repository_of_something_else_is_never_written_to(run, manager, api):
    api.titles, api.files = ("Add my weights",), ("README.md", "model.safetensors")
    with pytest.raises(InputError, match="ada/my-adapter exists"):
        push(run, "adapter", "my-adapter", "token", manager)
    assert api.created is None and api.sent is None


@pytest.mark.parametrize("mine", [True, False])
def test_a_push_may_be_repeated_and_a_broken_one_ended(run, manager, api, mine):
    if mine:
        api.titles, api.files = (f"Add run {run.id[:6]} of the fine-tuning studio", "initial commit"), ("README.md",)
    else:
        api.titles, api.files = ("initial commit",), (".gitattributes",)
    assert push(run, "adapter", "my-adapter", "token", manager).account == "ada"


def test_without_a_login_it_says_how_to_log_in(run, manager, api):
    with pytest.raises(InputError, match="hf auth login"):
        push(run, "adapter", "my-adapter", None, manager)


def test_offline_it_says_so_and_sends_nothing(run, manager, monkeypatch):
    """The real client: the tests run with HF_HUB_OFFLINE."""
    with pytest.raises(InputError, match=r"started offline.*download it"):
        push(run, "adapter", "my-adapter", "hf_secret", manager)


@pytest.mark.parametrize(
    "error, said",
    [(ConnectionError("refused by 10.0.0.1"), "cannot be reached"), (TimeoutError(), "cannot be reached")],
)
def test_a_network_that_fails_is_told_without_its_words(run, manager, api, error, said):
    def fail():
        raise error

    api.whoami = fail
    with pytest.raises(InputError, match=said) as told:
        push(run, "adapter", "my-adapter", "token", manager)
    assert "10.0.0.1" not in str(told.value)


@pytest.mark.parametrize("status, said", [(401, "does not accept this login"), (409, "the Hub refused: taken")])
def test_what_the_hub_refuses_is_told(run, manager, api, status, said):
    from huggingface_hub.errors import HfHubHTTPError

    def refuse(*args, **kwargs):
        response = SimpleNamespace(status_code=status, headers={}, request=None)
        raise HfHubHTTPError("no", response=response, server_message="taken")

    api.create_repo = refuse
    with pytest.raises(InputError, match=said):
        push(run, "adapter", "my-adapter", "token", manager)
