"""A model of the Hub: from a cache that other programs filled, or from a Hub, which a small server plays."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.errors import InputError
from pipelines.models import ModelManager
from pipelines.models import hub as hub_module
from pipelines.models.catalogue import pairs
from pipelines.models.download import cached_folder, locate
from pipelines.models.names import _hub_spec

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SMOL = next(pair for pair in pairs() if pair.key == "smollm2-135m")
LLAMA = next(pair for pair in pairs() if pair.key == "llama-3.2-1b")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty Hub cache of this machine."""
    folder = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    return folder


def fill(cache: Path, source: str, folder: Path, leave_out: tuple[str, ...] = ()) -> Path:
    """What transformers leaves behind: blobs, links to them, and the commit that main was."""
    model = cache / ("models--" + source.replace("/", "--"))
    snapshot = model / "snapshots" / COMMIT
    for made in (model / "blobs", model / "refs", snapshot):
        made.mkdir(parents=True)
    (model / "refs" / "main").write_text(COMMIT)
    for file in folder.iterdir():
        if file.name not in leave_out:
            blob = model / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
            blob.write_bytes(file.read_bytes())
            (snapshot / file.name).symlink_to(f"../../blobs/{blob.name}")
    return snapshot


def find(spec, may_download=True, told=None):
    return locate(spec, may_download, lambda *what: (told if told is not None else []).append(what), threading.Event())


def test_offline_a_pair_of_the_catalogue_runs_from_an_existing_cache(cache, tiny_pair):
    fill(cache, SMOL.base.source, tiny_pair.base)
    fill(cache, SMOL.instruct.source, tiny_pair.instruct)
    manager = ModelManager(replace(tiny_pair.settings, pair="smollm2-135m"))
    with manager.lease("base") as base, manager.lease("instruct") as instruct:
        assert base.spec.source == "HuggingFaceTB/SmolLM2-135M"
        assert base.tokenizer("a")["input_ids"] and base.context_length == instruct.context_length == 128


def test_a_cache_that_lacks_what_nobody_reads_will_do(cache, tiny_pair):
    snapshot = fill(cache, SMOL.base.source, tiny_pair.base)
    trees = snapshot.parent.parent / "trees"
    trees.mkdir()
    listing = {name: {"size": 1, "blob_id": "0" * 40} for name in ("config.json", "README.md", "pytorch_model.bin")}
    (trees / f"{COMMIT}.json").write_text(json.dumps(listing))
    assert cached_folder(SMOL.base) == snapshot


@pytest.mark.parametrize("missing", ["model.safetensors", "config.json"])
def test_half_a_model_in_the_cache_is_none(cache, tiny_pair, missing):
    fill(cache, SMOL.base.source, tiny_pair.base, leave_out=(missing,))
    assert cached_folder(SMOL.base) is None


def test_some_shards_without_their_index_are_none(cache, tiny_pair):
    snapshot = fill(cache, SMOL.base.source, tiny_pair.base)
    (snapshot / "model.safetensors").rename(snapshot / "model-00001-of-00002.safetensors")
    assert cached_folder(SMOL.base) is None


@pytest.mark.parametrize("may_download", [False, True])
def test_a_gated_model_that_is_not_here_says_what_to_do(cache, may_download):
    todo = (
        r"accept the licence at https://huggingface.co/meta-llama/Llama-3.2-1B, `hf auth login`, and run `hf download"
    )
    with pytest.raises(InputError, match=todo):
        find(LLAMA.base, may_download)


@dataclass
class Hub:
    """One repository as the Hub serves it, and what was asked of it."""

    files: dict[str, bytes]
    refusal: str = ""  # the Hub's X-Error-Code for files
    status: int = 0  # of every answer, where it is not the usual one
    cuts: int = 0  # how many files still come half
    silent: str = ""  # what has this in its path is not answered until `ended`
    ended: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def hub(cache, tiny_pair, monkeypatch) -> Iterator[Hub]:
    """A Hub that has the tiny base under every name."""
    served = Hub({file.name: file.read_bytes() for file in tiny_pair.base.iterdir()})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            served.asked.append(path)
            if served.silent and served.silent in path:
                served.ended.wait(60)
                return self.close()
            if served.status:
                self.send_response(served.status)
                self.send_header("Content-Length", "0")
                return self.end_headers()
            if "/tree/" in path:
                rows = [
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in served.files.items()
                ]
                return self._send(json.dumps(rows).encode())
            if path.startswith("/api/models/"):
                siblings = [{"rfilename": name} for name in served.files]
                about = {"id": "x/y", "sha": COMMIT, "siblings": siblings}
                return self._send(json.dumps(about).encode())
            data = served.files.get(path.rpartition("/")[2])
            if served.refusal or data is None:
                self.send_response(401 if served.refusal else 404)
                self.send_header("X-Error-Code", served.refusal or "EntryNotFound")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            return self._send(data)

        do_HEAD = do_GET

        def _send(self, data: bytes) -> None:
            self.send_response(200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                half = served.cuts > 0 and "/resolve/" in self.path and len(data) > 1000
                self.wfile.write(data[: len(data) // 2] if half else data)
                if half:
                    served.cuts -= 1
                    self.close()

        def close(self) -> None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", served.url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", served.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", served.url)
    yield served
    served.ended.set()
    server.shutdown()
    server.server_close()


def test_a_download_says_how_far_it_is_and_is_found_again_offline(hub, monkeypatch):
    told: list[tuple[float, str]] = []
    hub.files["original/consolidated.00.pth"] = hub.files["pytorch_model.bin"] = b"pickled"
    folder = find(SMOL.base, told=told)
    assert not any(name.endswith((".bin", ".pth")) for name in hub.asked)
    assert any("downloading" in what for _, what in told)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert cached_folder(SMOL.base) == folder


def test_a_repository_of_pickled_weights_is_refused_before_anything_is_fetched(hub):
    hub.files["pytorch_model.bin"] = hub.files.pop("model.safetensors")
    with pytest.raises(InputError, match=r"'somebody/pickled' has no safetensors weights"):
        find(_hub_spec("somebody/pickled"))
    assert not any("/resolve/" in path for path in hub.asked)


def test_a_gated_repository_says_where_the_licence_is(hub):
    hub.refusal = "GatedRepo"
    todo = r"is gated. Accept the licence at https://huggingface.co/meta-llama/Llama-3.2-1B, then `hf auth login`"
    with pytest.raises(InputError, match=todo):
        find(LLAMA.base)


def test_a_name_that_the_hub_does_not_know_says_so(hub, monkeypatch):
    hub.refusal = "RepoNotFound"
    with pytest.raises(InputError, match=r"the Hub has no model 'somebody/nothing'"):
        find(_hub_spec("somebody/nothing"))


def test_a_hub_out_of_reach_is_told_from_a_model_without_safetensors(hub, cache, tiny_pair, monkeypatch):
    fill(cache, SMOL.base.source, tiny_pair.base, leave_out=("model.safetensors",))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", "http://127.0.0.1:1")
    with pytest.raises(InputError, match=r"could not be downloaded \(ConnectError\). Check the connection"):
        find(SMOL.base)


@pytest.fixture
def at_once(monkeypatch):
    """Lets huggingface_hub ask again without the seconds that it pauses for."""
    clock = SimpleNamespace(**vars(time) | {"sleep": lambda seconds: None})
    for module in ("utils._http", "file_download"):
        monkeypatch.setattr(f"huggingface_hub.{module}.time", clock)


def comes_after_all(hub):
    """The same process asks again, the Hub being well again."""
    hub.status, hub.silent, hub.cuts = 0, "", 0
    return (find(SMOL.base) / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


@pytest.mark.parametrize("where", ["/api/models/", "/resolve/"])
def test_a_hub_that_never_answers_is_waited_for_no_longer_than_this(hub, at_once, monkeypatch, where):
    """Without the limit everybody who asks for the model would wait behind the first one for ever."""
    monkeypatch.setattr(hub_module, "PATIENCE", 0.5)
    hub.silent = where
    began = time.monotonic()
    with pytest.raises(InputError) as told:
        find(SMOL.base)
    assert str(told.value) == (
        "model: the Hub did not answer in time for 'HuggingFaceTB/SmolLM2-135M'. "
        "Try again in a moment, or use the pocket pair; what is here already is kept."
    )
    assert time.monotonic() - began < 60
    assert comes_after_all(hub)


@pytest.mark.parametrize("status", [500, 503])
def test_a_hub_with_a_fault_of_its_own_says_so(hub, status):
    hub.status = status
    said = rf"the Hub has a fault of its own \(status {status}\); 'HuggingFaceTB/SmolLM2-135M' did not come. Try again"
    with pytest.raises(InputError, match=said):
        find(SMOL.base)
    assert comes_after_all(hub)


def test_a_download_that_is_cut_goes_on_by_itself(hub, at_once):
    hub.cuts = 2
    assert (find(SMOL.base) / "model.safetensors").read_bytes() == hub.files["model.safetensors"]
    assert hub.cuts == 0


def test_a_download_that_is_always_cut_says_so_and_comes_when_it_is_tried_again(hub, at_once):
    hub.cuts = 10**6
    with pytest.raises(InputError, match=r"the connection was cut while 'HuggingFaceTB/SmolLM2-135M' came. Try again"):
        find(SMOL.base)
    assert cached_folder(SMOL.base) is None
    assert comes_after_all(hub)


def test_those_who_wait_for_a_model_that_does_not_come_are_told_and_the_next_one_is_served(hub, tiny_pair, monkeypatch):
    monkeypatch.setattr(hub_module, "PATIENCE", 0.5)
    manager = ModelManager(replace(tiny_pair.settings, pair="smollm2-135m"))
    hub.silent = "/api/models/"
    told = []

    def ask():
        try:
            with manager.lease("base"):
                pass
        except InputError as error:
            told.append(error.what)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert told == ["the Hub did not answer in time for 'HuggingFaceTB/SmolLM2-135M'"] * 3
    hub.silent = ""
    with manager.lease("base") as lease:
        assert lease.context_length == 128


def test_a_full_disk_of_the_cache_is_no_matter_of_the_connection(hub, disk, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(disk.path / "hub"))
    disk.fill(leave=100 * 1024)
    said = "'HuggingFaceTB/SmolLM2-135M' does not fit on the disk of the Hub's cache. Make room there, or name another"
    with pytest.raises(InputError, match=said):
        find(SMOL.base)
    assert cached_folder(SMOL.base) is None
    disk.free()
    assert comes_after_all(hub)


@pytest.mark.parametrize("model_type", ["llama", "brought_along"])
def test_code_that_comes_with_a_model_is_never_run(tiny_pair, tmp_path, model_type):
    ran = tmp_path / "ran"
    (tiny_pair.base / "brought.py").write_text(f"open({str(ran)!r}, 'w')\nclass Config: ...\nclass Model: ...\n")
    config = json.loads((tiny_pair.base / "config.json").read_text())
    config |= {
        "model_type": model_type,
        "auto_map": {"AutoConfig": "brought.Config", "AutoModelForCausalLM": "brought.Model"},
    }
    (tiny_pair.base / "config.json").write_text(json.dumps(config))
    manager = ModelManager(tiny_pair.settings)
    if model_type == "llama":
        with manager.lease("base") as lease:
            assert type(lease.model).__name__ == "LlamaForCausalLM"
    else:
        with pytest.raises(InputError, match="without remote code"):
            manager.lease("base").__enter__()
    assert not ran.exists()
