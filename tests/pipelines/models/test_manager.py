"""Loading once, lending, evicting, refusing, giving up."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from pipelines.architecture.extract import build_on_meta
from pipelines.errors import InputError
from pipelines.memory.loaded import measure_loaded
from pipelines.models import Cancelled, ModelManager
from pipelines.models import manager as manager_module
from tests.conftest import TinyPair


@pytest.fixture
def loads(monkeypatch):
    """Every loading from disk, by key; slow enough that others arrive meanwhile."""
    original, seen = manager_module.load_model, []

    def slow(spec, *arguments):
        seen.append(spec.key)
        time.sleep(0.2)
        return original(spec, *arguments)

    monkeypatch.setattr(manager_module, "load_model", slow)
    return seen


def bytes_of(manager, name):
    with manager.lease(name) as lease:
        return lease.weight_bytes


def resident(manager):
    return {status.key for status in manager.models() if status.resident}


def test_a_model_is_loaded_once_however_many_ask(tiny_pair, loads):
    manager = ModelManager(tiny_pair.settings)
    models, barrier = [], threading.Barrier(12)

    def ask():
        barrier.wait()
        with manager.lease("base") as lease:
            models.append(lease.model)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert loads == ["tiny-base"]
    assert len(models) == 12 and all(model is models[0] for model in models)


def test_preloading_and_asking_meanwhile_is_one_loading(tiny_pair, loads):
    manager = ModelManager(tiny_pair.settings)
    thread = manager.preload(["base", "instruct", "no such model"])
    with manager.lease("base"):
        pass
    thread.join(30)
    assert loads == ["tiny-base", "tiny-instruct"]
    assert resident(manager) == {"tiny-base", "tiny-instruct"}


def test_the_least_recently_used_model_makes_room(tiny_pair):
    need = bytes_of(ModelManager(tiny_pair.settings), "base")
    manager = ModelManager(replace(tiny_pair.settings, memory_budget=int(1.5 * need)))
    for name, expected in [("base", "tiny-base"), ("instruct", "tiny-instruct"), ("base", "tiny-base")]:
        with manager.lease(name):
            assert manager.gauge().used <= manager.gauge().budget
        assert resident(manager) == {expected}


def test_a_leased_model_is_never_evicted(tiny_pair):
    need = bytes_of(ModelManager(tiny_pair.settings), "base")
    manager = ModelManager(replace(tiny_pair.settings, memory_budget=int(1.5 * need)), patience=0.2)
    with manager.lease("base") as lease:
        with pytest.raises(InputError, match=r"'tiny-instruct' needs .* models in use hold .*--memory-budget"):
            manager.lease("instruct").__enter__()
        assert resident(manager) == {"tiny-base"}
        assert lease.model is not None
    with manager.lease("instruct"):
        assert resident(manager) == {"tiny-instruct"}


def test_room_that_comes_free_while_waiting_is_taken(tiny_pair):
    need = bytes_of(ModelManager(tiny_pair.settings), "base")
    manager = ModelManager(replace(tiny_pair.settings, memory_budget=int(1.5 * need)), patience=30)
    held, said = threading.Event(), []

    def hold():
        with manager.lease("base"):
            held.set()
            time.sleep(0.4)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    with manager.lease("instruct", progress=lambda fraction, what: said.append(what)):
        assert resident(manager) == {"tiny-instruct"}
    assert "waiting for memory" in said
    thread.join()


def test_a_model_larger_than_the_budget_is_refused_with_the_numbers(tiny_pair):
    manager = ModelManager(replace(tiny_pair.settings, memory_budget=50_000))
    with pytest.raises(InputError, match=r"'tiny-base' needs 0\.1 MiB, more than the whole budget of 0\.0 MiB"):
        manager.lease("base").__enter__()


def test_a_fresh_copy_counts_while_it_lives(tiny_pair):
    manager = ModelManager(tiny_pair.settings)
    with manager.lease("base") as lease:
        used = manager.gauge().used
        with manager.fresh("base") as copy:
            assert copy.model is not lease.model
            assert manager.gauge().used > 1.9 * used
        assert manager.gauge().used == used


def test_progress_is_reported_and_a_failing_report_gives_up_waiting(tiny_pair, loads):
    manager, said = ModelManager(tiny_pair.settings), []
    with manager.lease("base", progress=lambda fraction, what: said.append((fraction, what))):
        pass
    assert (0.8, "reading the weights") in said

    def gone(fraction, what):
        raise ConnectionError

    with pytest.raises(ConnectionError):
        manager.lease("instruct", progress=gone).__enter__()


def test_cancelling_while_waiting_gives_up_and_the_next_asker_is_served(tiny_pair, loads):
    manager, cancel = ModelManager(tiny_pair.settings), threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        manager.lease("base", cancel=cancel).__enter__()
    with manager.lease("base") as lease:
        assert lease.model is not None
    assert manager._shelf._residents["tiny-base"].leases == 0


def test_one_person_leaving_does_not_end_the_loading_for_others(tiny_pair, loads):
    manager, cancel = ModelManager(tiny_pair.settings), threading.Event()
    got = []

    def stay():
        with manager.lease("base") as lease:
            got.append(lease.spec.key)

    thread = threading.Thread(target=stay)
    thread.start()
    cancel.set()
    with pytest.raises(Cancelled):
        while not loads:
            time.sleep(0.01)
        manager.lease("base", cancel=cancel).__enter__()
    thread.join(30)
    assert got == ["tiny-base"] and loads == ["tiny-base"]


def test_a_failed_loading_frees_its_room_and_is_tried_again(tiny_pair):
    manager = ModelManager(tiny_pair.settings)
    config = tiny_pair.base / "config.json"
    good = config.read_text()
    config.write_text(good.replace('"llama"', '"no_such_architecture"'))
    with pytest.raises(InputError, match="'tiny-base' cannot be loaded"):
        manager.lease("base").__enter__()
    assert manager.gauge().used == 0
    config.write_text(good)
    with manager.lease("base") as lease:
        assert lease.context_length == 128


def test_a_model_whose_files_were_replaced_is_read_again(tiny_pair, loads):
    import shutil

    manager = ModelManager(tiny_pair.settings)
    with manager.lease("base") as lease:
        old = lease.model
        shutil.copy(tiny_pair.instruct / "model.safetensors", tiny_pair.base)
        with manager.lease("base") as other:
            assert other.model is old  # never under somebody's feet
    with manager.lease("base") as lease:
        assert lease.model is not old
    assert loads == ["tiny-base", "tiny-base"]


def test_a_tokenizer_comes_without_the_weights(tiny_pair, loads):
    manager = ModelManager(tiny_pair.settings)
    assert manager.tokenizer("base")("a")["input_ids"][0] == 0
    assert loads == []


def test_models_lists_the_running_pair_first_with_what_the_contract_names(tiny_pair):
    status = ModelManager(tiny_pair.settings).models()
    assert [row.key for row in status[:2]] == ["tiny-base", "tiny-instruct"]
    assert [row.role for row in status[:2]] == ["base", "instruct"]
    assert status[0].parameters > 0 and status[0].bytes == 4 * status[0].parameters
    assert "/" not in status[0].source
    assert any(row.key == "smollm2-135m-instruct" and row.parameters == 134_515_008 for row in status)


def test_weights_keep_their_numbers_while_other_models_are_built(studio: ModelManager, tiny_pair: TinyPair) -> None:
    """transformers sets torch's default dtype, which all threads share, while it makes a model."""
    import torch

    config = json.loads((tiny_pair.base / "config.json").read_text())
    ended = threading.Event()

    def build() -> None:
        while not ended.is_set():
            build_on_meta(config)

    def weigh() -> None:
        while not ended.is_set():
            list(measure_loaded(tiny_pair.base))

    with ThreadPoolExecutor(2) as others:
        working = [others.submit(build), others.submit(weigh)]
        try:
            for _ in range(20):
                with studio.fresh("run:one") as copy:
                    kinds = {weight.dtype for weight in copy.model.parameters()}
                assert kinds == {torch.float32}
        finally:
            ended.set()
        for thread in working:
            thread.result()
    assert torch.get_default_dtype() == torch.float32
