"""Models and adapters that were damaged on the disk: it is said what is wrong, and the base stays the base."""

import shutil
from dataclasses import replace

import pytest

from pipelines.errors import InputError
from pipelines.models import ModelManager
from pipelines.models.weights import shapes_of, stored_weights
from tests.conftest import write_adapter
from tests.pipelines.models.test_adapters import logits

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def halve(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def grown(file):
    file.write_bytes(file.read_bytes() + b"\0" * 100)


def header(text):
    return lambda file: file.write_bytes(len(text).to_bytes(8, "little") + text)


FILES = [
    (halve, r"{name} is damaged: it has [\d,]+ bytes and should have [\d,]+. Copy or download it again"),
    (grown, r"{name} is damaged: it has [\d,]+ bytes and should have [\d,]+. Copy or download it again"),
    (lambda file: file.write_bytes(b""), "{name} is not a safetensors file. Copy or download it again"),
    (lambda file: file.write_bytes(b"garbage" * 1000), "{name} is not a safetensors file"),
    (lambda file: file.write_bytes(bytes(1000)), "{name} is not a safetensors file"),
    (header(b"[1, 2]"), "{name} is not a safetensors file"),
    (header(b"[" * 100_000), "{name} is not a safetensors file"),
    (header(b'{"a": {"shape": [2]}}'), "{name} is not a safetensors file"),
    (header(b'{"a": {"shape": ["x"], "data_offsets": [0, 0]}}'), "{name} is not a safetensors file"),
]
SETTINGS = [
    (lambda file: file.write_bytes(b"\x00\xff garbage"), "'{name}' has no readable adapter_config.json. Copy its"),
    (halve, "'{name}' has no readable adapter_config.json"),
    (lambda file: file.write_text("[]"), "the adapter_config.json of '{name}' is no object"),
    (lambda file: file.write_text("{}"), "an adapter of type None cannot share a base"),
]


@pytest.mark.parametrize(("harm", "said"), FILES)
def test_the_damaged_weights_of_a_run_are_told_and_the_base_stays_the_base(studio, tiny_pair, harm, said):
    with studio.lease("base") as lease:
        before = logits(lease)
    harm(tiny_pair.base.parent / "runs" / "one" / "adapter" / WEIGHTS)
    for _ in range(2):
        with pytest.raises(InputError, match="the adapter in 'one' cannot be read: " + said.format(name=WEIGHTS)):
            studio.lease("run:one").__enter__()
        with studio.lease("base") as lease:
            assert (logits(lease) - before).abs().max() == 0 and lease.active_adapters() == ()
    with studio.lease("run:two") as lease:
        assert (logits(lease) - before).abs().max() > 0


@pytest.mark.parametrize("record", ["", '{"model": "base"}'])
@pytest.mark.parametrize(("harm", "said"), SETTINGS)
def test_the_damaged_settings_of_a_run_are_told_and_the_base_stays_the_base(studio, tiny_pair, harm, said, record):
    """With and without the run's own record of what it was trained on."""
    if record:
        (tiny_pair.base.parent / "runs" / "one" / "config.json").write_text(record)
    with studio.lease("base") as lease:
        before = logits(lease)
    harm(tiny_pair.base.parent / "runs" / "one" / "adapter" / CONFIG)
    with pytest.raises(InputError, match=said.format(name="one")):
        studio.lease("run:one").__enter__()
    with studio.lease("base") as lease:
        assert (logits(lease) - before).abs().max() == 0


def test_a_run_that_is_put_back_answers_again_without_a_restart(studio, tiny_pair):
    file = tiny_pair.base.parent / "runs" / "one" / "adapter" / WEIGHTS
    whole = file.read_bytes()
    halve(file)
    with pytest.raises(InputError, match="is damaged"):
        studio.lease("run:one").__enter__()
    file.write_bytes(whole)
    with studio.lease("run:one") as lease:
        assert lease.adapter_bytes > 0


def test_the_damaged_tokenizer_of_a_run_is_told(studio, tiny_pair):
    folder = tiny_pair.base.parent / "runs" / "one" / "adapter"
    for file in tiny_pair.base.glob("token*"):
        shutil.copy(file, folder)
    halve(folder / "tokenizer.json")
    with pytest.raises(InputError, match=r"the tokenizer of 'run:one' cannot be loaded \(.*\). Restore its folder"):
        studio.lease("run:one").__enter__()
    with studio.lease("base") as lease:
        assert lease.model is not None


@pytest.fixture
def elsewhere(tiny_pair, tmp_path):
    """Settings with a models directory of a model and an adapter, both whole, and room for damaged ones."""
    folder = tmp_path / "models"
    shutil.copytree(tiny_pair.instruct, folder / "good-model")
    write_adapter(tiny_pair.base, folder / "good", 1)
    return replace(tiny_pair.settings, models_dir=folder)


@pytest.mark.parametrize(("file", "harm", "said"), [(WEIGHTS, *FILES[0]), (CONFIG, *SETTINGS[0])])
def test_a_damaged_adapter_of_the_models_directory_is_refused_with_the_reason(elsewhere, file, harm, said):
    for name in ("bad", "adapter"):  # which is what the folder in a run is called
        shutil.copytree(elsewhere.models_dir / "good", elsewhere.models_dir / name)
        harm(elsewhere.models_dir / name / file)
    manager = ModelManager(elsewhere)
    assert [spec.key for spec in manager.foreign()] == ["good"]
    assert {why.partition(":")[0] for why in manager.refused()} == {"bad", "adapter"}
    for name in ("bad", "adapter"):
        told = f"the adapter in '{name}' cannot be read: " + said if file == WEIGHTS else said
        with pytest.raises(InputError, match=told.format(name=WEIGHTS if file == WEIGHTS else name)):
            manager.resolve(name)


@pytest.mark.parametrize(("harm", "said"), FILES[:4])
def test_a_damaged_model_is_told_and_hides_no_other(elsewhere, harm, said):
    bad = elsewhere.models_dir / "bad-model"
    shutil.copytree(elsewhere.models_dir / "good-model", bad)
    manager = ModelManager(elsewhere)
    spec = manager.resolve("bad-model")
    harm(bad / "model.safetensors")
    assert "good-model" in {status.key for status in manager.models()}
    with pytest.raises(InputError, match=said.format(name="model.safetensors")):
        stored_weights(spec.folder)
    with pytest.raises(InputError):
        manager.lease("bad-model").__enter__()
    with manager.lease("good-model") as lease:
        assert lease.model is not None


@pytest.mark.parametrize("text", ["garbage", "{}", "[]", '{"weight_map": 3}'])
def test_an_index_that_cannot_be_read_hides_no_model(elsewhere, text):
    bad = elsewhere.models_dir / "bad-model"
    shutil.copytree(elsewhere.models_dir / "good-model", bad)
    (bad / "model.safetensors.index.json").write_text(text)
    manager = ModelManager(elsewhere)
    keys = {status.key for status in manager.models()}
    assert "good-model" in keys and "bad-model" not in keys
    with pytest.raises(InputError, match=r"'bad-model' has no index that can be read. Copy or download it again"):
        stored_weights(bad)


def test_what_safetensors_writes_is_whole(tmp_path):
    """Compared with the reference: all dtypes, scalars, empty tensors and metadata."""
    import torch
    from safetensors.torch import save_file

    kinds = (torch.float32, torch.bfloat16, torch.float16, torch.int8, torch.bool, torch.int64)
    tensors = {str(kind): torch.ones(3, 5).to(kind) for kind in kinds}
    tensors |= {"scalar": torch.tensor(1.0), "empty": torch.zeros(0, 4)}
    for metadata in (None, {"format": "pt"}):
        save_file(tensors, tmp_path / "all.safetensors", metadata=metadata)
        assert shapes_of([tmp_path / "all.safetensors"]) == {name: tuple(one.shape) for name, one in tensors.items()}
    save_file({}, tmp_path / "none.safetensors")
    assert shapes_of([tmp_path / "none.safetensors"]) == {}
