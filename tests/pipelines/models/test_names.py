"""What a name means, and which names a visitor may not use."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.errors import InputError
from pipelines.models import ModelManager
from pipelines.models.catalogue import pairs
from pipelines.settings import Settings
from tests.conftest import write_adapter


def test_every_pair_of_the_catalogue_can_be_the_running_one():
    for pair in pairs():
        manager = ModelManager(Settings(pair=pair.key))
        assert (manager.resolve("base").key, manager.resolve("instruct").key) == (
            f"{pair.key}-base",
            f"{pair.key}-instruct",
        )


def test_two_keys_or_folders_make_a_pair(tiny_pair):
    manager = ModelManager(Settings(pair=f"pocket-base,{tiny_pair.instruct}"))
    assert manager.resolve("base").key == "pocket-base"
    assert manager.resolve("instruct").folder == tiny_pair.instruct
    assert manager.resolve("tiny-instruct").role == "instruct"


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("poket", "--pair: 'poket' is not known. Did you mean 'pocket'"),
        ("pocket-base,/no/such/folder", "'/no/such/folder' is neither a known model nor a folder"),
        ("a,b,c", "Or name two models: BASE,INSTRUCT"),
    ],
)
def test_a_pair_that_cannot_be_is_refused_at_start(pair, message):
    with pytest.raises(InputError, match=message):
        ModelManager(Settings(pair=pair))


def test_a_folder_that_is_no_model_is_refused_at_start(tmp_path):
    with pytest.raises(InputError, match=r"no config\.json"):
        ModelManager(Settings(pair=f"{tmp_path},pocket-instruct"))


@pytest.mark.parametrize(
    "name",
    [
        "run:../../etc", "run:a/b", "run:", "run:.", "run:a.b", "run:" + "a" * 81,
        "../tiny-base", "/etc", "tests/conftest.py", "./x", "a/../b", "", None,
    ],
)  # fmt: skip
def test_a_visitor_cannot_name_a_path(tiny_pair, name):
    settings = replace(tiny_pair.settings, models_dir=tiny_pair.base.parent)
    with pytest.raises(InputError, match="model: "):
        ModelManager(settings).resolve(name)


def test_folders_of_the_models_directory_are_offered_by_their_name(tiny_pair):
    manager = ModelManager(Settings(models_dir=tiny_pair.base.parent))
    assert manager.resolve("tiny-base").folder == tiny_pair.base
    assert "tiny-instruct" in {row.key for row in manager.models()}


def test_a_folder_that_is_no_model_does_not_hide_the_others(tiny_pair):
    (tiny_pair.base / "config.json").write_text("{}")
    manager = ModelManager(Settings(models_dir=tiny_pair.base.parent))
    assert "tiny-instruct" in {row.key for row in manager.models()}


def test_a_hub_id_needs_the_operators_leave(tiny_pair):
    with pytest.raises(InputError, match="--allow-any-model"):
        ModelManager(tiny_pair.settings).resolve("somebody/something")
    manager = ModelManager(replace(tiny_pair.settings, allow_any_model=True))
    assert manager.resolve("somebody/something").source == "somebody/something"
    assert manager.resolve("Qwen/Qwen2.5-7B").key == "qwen2.5-7b-base"


def test_offline_a_model_of_the_hub_says_what_to_do(tiny_pair):
    manager = ModelManager(replace(tiny_pair.settings, allow_any_model=True))
    with pytest.raises(InputError, match=r"HF_HUB_OFFLINE is set.*hf download HuggingFaceTB/SmolLM2-135M"):
        manager.lease("smollm2-135m-base").__enter__()


def test_a_folder_of_pickled_weights_is_not_loaded(tiny_pair):
    weights = tiny_pair.base / "model.safetensors"
    weights.rename(tiny_pair.base / "pytorch_model.bin")
    with pytest.raises(InputError, match="has no safetensors weights"):
        ModelManager(tiny_pair.settings)


def test_runs_that_left_an_adapter_are_listed_and_others_are_not(tiny_pair):
    runs = tiny_pair.base.parent / "runs"
    write_adapter(tiny_pair.base, runs / "good" / "adapter")
    (runs / "empty").mkdir()
    (runs / "not.an.id" / "adapter").mkdir(parents=True)
    manager = ModelManager(tiny_pair.settings)
    assert [spec.key for spec in manager.runs()] == ["run:good"]
    spec = manager.resolve("run:good")
    assert (spec.role, spec.weights.key, spec.source) == ("adapter", "tiny-base", "runs/good")


def test_an_adapter_belongs_to_the_base_that_peft_recorded(tiny_pair):
    runs = tiny_pair.base.parent / "runs"
    write_adapter(tiny_pair.instruct, runs / "later" / "adapter")
    (runs / "later" / "config.json").write_text('{"model": "base"}')
    assert ModelManager(tiny_pair.settings).resolve("run:later").weights.key == "tiny-instruct"


def test_an_adapter_whose_base_moved_belongs_to_the_model_its_run_was_started_with(tiny_pair):
    runs = tiny_pair.base.parent / "runs"
    folder = write_adapter(tiny_pair.base, runs / "moved" / "adapter")
    config = folder / "adapter_config.json"
    config.write_text(config.read_text().replace(str(tiny_pair.base), "/somewhere/else"))
    manager = ModelManager(tiny_pair.settings)
    with pytest.raises(InputError, match="the base of run 'moved' is not known here"):
        manager.resolve("run:moved")
    (runs / "moved" / "config.json").write_text('{"model": "base"}')
    assert manager.resolve("run:moved").weights.key == "tiny-base"
