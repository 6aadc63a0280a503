"""What a run is exported as: run, loaded or checked against what the other tools accept."""

import ast
import json
import os
import subprocess
import sys
import zipfile
from xml.etree import ElementTree

import pytest
import yaml

from pipelines.errors import InputError
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.exports import TOOLS, export
from pipelines.finetune.exports.axolotl import axolotl_config
from pipelines.finetune.exports.llama_factory import llama_factory_config
from pipelines.finetune.exports.unsloth import SHARED_ARGUMENTS, unsloth_script
from pipelines.finetune.preparing import prepare_run
from pipelines.finetune.run import TrainedModel
from pipelines.labels import IGNORE_INDEX, label
from pipelines.messages import parse_messages
from pipelines.models import ModelManager
from pipelines.templates import get_template, render
from tests.pipelines.finetune import tool_keys
from tests.pipelines.finetune.test_service import SHORT, wait_for_end

HUB = TrainedModel("some-8b", "acme/some-8b", "acme/some-8b", revision="abc", parameters=8_000_000_000, context=8192)


@pytest.fixture(scope="module")
def manager(settings):
    return ModelManager(settings)


@pytest.fixture(scope="module")
def finished(service):
    """A short LoRA run with a template that is not the model's own."""
    run_id = service.start(SHORT | {"template": "chatml", "seed": 7})
    wait_for_end(service, run_id)
    return service.directory(run_id)


def prepared(settings, manager, small_lesson, **config):
    """A run's directory before any worker: what configurations are written from."""
    run = prepare_run(FinetuneConfig.from_dict({"max_steps": 4, **config}), settings.runs_dir, manager)
    run.set_status("stopped")  # nobody will train it
    return run


def hub_run(settings, manager, small_lesson, **config):
    run = prepared(settings, manager, small_lesson, **config)
    run.configure(run.config, HUB, "cpu")
    return run


def unpacked(path, folder):
    """The one folder of an archive."""
    zipfile.ZipFile(path).extractall(folder)
    (top,) = folder.iterdir()
    return top


def check(values, accepted):
    for key, value in values.items():
        assert key in accepted, key
        kind = accepted[key]
        allowed = isinstance(kind, tuple) and isinstance(kind[0], str)
        assert value in kind if allowed else isinstance(value, kind), (key, value)


METHODS = [{"method": "lora"}, {"method": "full"}, {"method": "qlora"}, {"target_modules": "q,v"}]


@pytest.mark.parametrize("config", METHODS)
def test_axolotl_accepts_every_key_and_value(settings, manager, small_lesson, config):
    run = prepared(settings, manager, small_lesson, **config)
    values = yaml.safe_load(axolotl_config(run))
    check(values, tool_keys.AXOLOTL)
    (dataset,) = values["datasets"]
    check(dataset, tool_keys.AXOLOTL_DATASET)
    assert values.get("adapter") == {"full": None}.get(run.config.method, run.config.method)
    assert values["max_steps"] == 4 and values["learning_rate"] == run.config.learning_rate
    assert "revision_of_model" in yaml.safe_load(axolotl_config(hub_run(settings, manager, small_lesson, **config)))


@pytest.mark.parametrize("config", METHODS)
def test_llama_factory_accepts_every_key_and_value(settings, manager, small_lesson, config):
    """What is not its own is an argument of transformers, which checks the values itself."""
    from transformers import Seq2SeqTrainingArguments

    for run in (prepared(settings, manager, small_lesson, **config), hub_run(settings, manager, small_lesson)):
        values = yaml.safe_load(llama_factory_config(run))
        own = {key: value for key, value in values.items() if key in tool_keys.LLAMA_FACTORY}
        check(own, tool_keys.LLAMA_FACTORY)
        theirs = {key: value for key, value in values.items() if key not in own}
        assert Seq2SeqTrainingArguments(**theirs).max_steps == 4


@pytest.mark.parametrize("config", METHODS)
def test_the_unsloth_script_calls_what_unsloth_has(settings, manager, small_lesson, config):
    script = unsloth_script(hub_run(settings, manager, small_lesson, **config), "unsloth-abc")
    calls = {
        ast.unparse(node.func): {keyword.arg for keyword in node.keywords}
        for node in ast.walk(ast.parse(script))
        if isinstance(node, ast.Call)
    }
    assert calls["FastLanguageModel.from_pretrained"] <= tool_keys.UNSLOTH_LOAD
    assert calls.get("FastLanguageModel.get_peft_model", set()) <= tool_keys.UNSLOTH_PEFT
    assert calls["SFTConfig"] == {*SHARED_ARGUMENTS, "output_dir", "dataset_kwargs"}
    from trl import SFTConfig

    assert {*SHARED_ARGUMENTS} <= set(SFTConfig.__dataclass_fields__)


def test_an_unknown_tool_names_the_nearest(finished, tmp_path, manager):
    with pytest.raises(InputError, match="llama-factory"):
        export(finished, "llamafactory", tmp_path, manager)


def test_nothing_is_exported_that_is_not_there_yet(settings, manager, small_lesson, tmp_path):
    run = prepared(settings, manager, small_lesson)
    for tool in ("adapter", "merged"):
        with pytest.raises(InputError, match="kept no adapter"):
            export(run, tool, tmp_path, manager)


@pytest.mark.slow
def test_rows_and_template_of_the_configurations_are_the_runs(finished, tmp_path, manager):
    """Both tokenized forms against `pipelines.labels` on the run's own rows."""
    from datasets import load_from_disk
    from transformers import AutoTokenizer

    axolotl = unpacked(export(finished, "axolotl", tmp_path, manager), tmp_path / "a")
    factory = unpacked(export(finished, "llama-factory", tmp_path, manager), tmp_path / "l")
    template = get_template("chatml")
    tokenizer = AutoTokenizer.from_pretrained(axolotl / "tiny-base")
    assert tokenizer.chat_template == template.jinja == (axolotl / "chat_template.jinja").read_text()
    assert (factory / "tiny-base" / "chat_template.jinja").read_text() == template.jinja
    conversations = [json.loads(line) for line in (factory / "conversations.jsonl").read_text().splitlines()]
    expected = [label(render(parse_messages(row["messages"]), template), tokenizer) for row in conversations]
    rows = [json.loads(line) for line in (axolotl / "tokenized.jsonl").read_text().splitlines()]
    assert {key for row in rows for key in row} == tool_keys.AXOLOTL_TOKENIZED_COLUMNS
    stored = load_from_disk(str(factory / "tokenized"))["train"].to_list()
    assert len(rows) == len(stored) == len(expected) > 5
    for row, other, labelled in zip(rows, stored, expected, strict=True):
        assert row == other
        assert row["input_ids"] == list(labelled.input_ids) and row["labels"] == list(labelled.labels)
        assert IGNORE_INDEX in row["labels"]
    info = json.loads((factory / "dataset_info.json").read_text())["run"]
    assert set(info) == tool_keys.LLAMA_FACTORY_DATASET and set(info["tags"]) <= tool_keys.LLAMA_FACTORY_TAGS


@pytest.mark.slow
def test_the_merged_folder_loads_and_its_readme_tells_the_largest_difference(finished, tmp_path, manager):
    import re

    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = unpacked(export(finished, "merged", tmp_path, manager), tmp_path / "m")
    merged = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.chat_template == get_template("chatml").jinja
    base = AutoModelForCausalLM.from_pretrained(finished.model.source, dtype="float32")
    beside = PeftModel.from_pretrained(base, finished.adapter)
    ids = torch.tensor([tokenizer("The capital of France is Paris.")["input_ids"]])
    with torch.no_grad():
        apart = float((merged(ids).logits - beside(ids).logits).abs().max())
        trained = float((merged(ids).logits - beside.get_base_model()(ids).logits).abs().max())
        with beside.disable_adapter():
            untrained = float((merged(ids).logits - beside(ids).logits).abs().max())
    stated = float(re.search(r"adapter beside it and this model: ([\d.e+-]+)", (folder / "README.md").read_text())[1])
    assert apart <= 1e-4 and stated <= 1e-4
    assert untrained > 100 * max(apart, trained)


@pytest.mark.slow
def test_the_adapter_archive_loads_and_names_no_path_of_this_machine(finished, tmp_path, manager):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = unpacked(export(finished, "adapter", tmp_path, manager), tmp_path / "p")
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(finished.model.source), folder)
    assert (folder / "chat_template.jinja").read_text() == get_template("chatml").jinja
    losses = (folder / "losses.csv").read_text().splitlines()
    assert losses[0].startswith("step,loss") and losses[1].startswith("0,,")
    assert len(losses) == 2 + SHORT["max_steps"]
    assert "![Loss" in (folder / "README.md").read_text()
    assert ElementTree.parse(folder / "losses.svg").getroot().tag.endswith("svg")
    for name in ("README.md", "adapter_config.json", "tokenizer_config.json"):
        assert str(finished.path.parent) not in (folder / name).read_text()
        assert finished.model.source not in (folder / name).read_text()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_trl_file_alone_repeats_the_losses_of_the_run(service, tmp_path, manager, method):
    run_id = service.start(SHORT | {"method": method, "seed": 7})
    losses = [point.loss for point in wait_for_end(service, run_id).points]
    file = export(service.directory(run_id), "trl", tmp_path / "home", manager)
    done = subprocess.run(
        [sys.executable, file.name],
        cwd=file.parent,
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stderr
    (state,) = (file.parent / "checkpoints").glob("*/trainer_state.json")
    history = json.loads(state.read_text())["log_history"]
    repeated = [entry["loss"] for entry in history if "loss" in entry]
    assert repeated == pytest.approx(losses, rel=0.01)
    assert (file.parent / ("model" if method == "full" else "adapter")).is_dir()
    assert f"over {len(losses)} steps" in done.stdout


@pytest.mark.slow
def test_every_tool_gives_one_file(finished, tmp_path, manager):
    files = [export(finished, tool, tmp_path, manager) for tool in TOOLS]
    assert [file.suffix for file in files] == [".py", ".zip", ".zip", ".py", ".zip", ".csv", ".zip"]
    assert all(file.is_file() for file in files) and len(list(tmp_path.iterdir())) == len(TOOLS)
    ast.parse(files[3].read_text())
