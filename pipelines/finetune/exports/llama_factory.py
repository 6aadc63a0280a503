"""The configuration of a run for LLaMA-Factory, with its rows in the tokenized form that it reads.

Keys as in LLaMA-Factory 0.9.6.dev0 (`src/llamafactory/hparams`). `tokenized_path` is a folder that
`datasets.save_to_disk` wrote; its rows are taken as they are (`src/llamafactory/data/loader.py`), so the mask is the
run's for any template. The conversations lie beside it for reading, described in dataset_info.json.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from pipelines.finetune.arguments import sft_arguments
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.conversations import Examples
from pipelines.finetune.exports.archive import (
    Content,
    base_files,
    base_name,
    base_note,
    examples_of,
    is_current,
    losses_csv,
    pack,
)
from pipelines.finetune.exports.yaml_text import yaml_text
from pipelines.finetune.run import RunDirectory
from pipelines.finetune.script import TEMPLATE_FILE
from pipelines.messages import as_dicts
from pipelines.models.device import choose_device

VERSION = "0.9.6.dev0"
CONFIG_FILE, ROWS_FILE, TOKENIZED = "train.yaml", "conversations.jsonl", "tokenized"
_DATASET = "run"


def llama_factory_archive(run: RunDirectory, folder: Path) -> Path:
    """llama-factory-<id>.zip in `folder`: train.yaml, dataset_info.json, both forms of the rows, a small base."""
    path = folder / f"llama-factory-{run.id[:6]}.zip"
    if is_current(path, run):
        return path
    examples = examples_of(run)
    base = base_files(run, examples.chat_template)
    conversations = (json.dumps({"messages": as_dicts(one.messages)}, ensure_ascii=False) for one in examples.train)
    files: dict[str, Content] = {
        CONFIG_FILE: llama_factory_config(run),
        "dataset_info.json": json.dumps(_dataset_info(), indent=2) + "\n",
        ROWS_FILE: "".join(line + "\n" for line in conversations),
        TEMPLATE_FILE: examples.chat_template,
        "losses.csv": losses_csv(run),
        "README.md": _readme(run, base),
        **base,
        **_tokenized(examples),
    }
    return pack(path, {f"{path.stem}/{name}": content for name, content in files.items()})


def llama_factory_config(run: RunDirectory) -> str:
    """train.yaml of a run with a resolved configuration."""
    config, model = run.config, run.model
    arguments = sft_arguments(config, model.parameters, choose_device(run.record["device"]))
    base = {"model_name_or_path": base_name(run)} | ({"model_revision": model.revision} if model.revision else {})
    return yaml_text(
        f"Run {run.id[:6]} of the fine-tuning studio, for LLaMA-Factory {VERSION}. Start it in this folder:\n"
        f"llamafactory-cli train {CONFIG_FILE}",
        {
            "The base. LLaMA-Factory computes in the numbers that its weights are stored in, or bf16.": base,
            "What is trained.": {"stage": "sft", "do_train": True, **_adapter(config)},
            "Rows that are tokenized and labelled already, in the order of the run. `dataset` has to be named, but is\n"
            "not read. `empty` adds nothing to the tokenizer and leaves its chat template alone: the run's\n"
            f"own template, {TEMPLATE_FILE}, need not be among LLaMA-Factory's.": {
                "tokenized_path": TOKENIZED,
                "dataset": _DATASET,
                "dataset_dir": ".",
                "template": "empty",
                "cutoff_len": config.max_length,
                "disable_shuffling": True,
                "packing": config.packing,
            },
            "How.": {
                **{key: arguments[key] for key in _SAME_NAMES},
                "disable_gradient_checkpointing": not arguments["gradient_checkpointing"],
                "output_dir": "trained",
            },
        },
    )


# What LLaMA-Factory takes under the names of transformers' TrainingArguments.
_SAME_NAMES = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "max_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "optim",
    "bf16",
    "use_cpu",
    "seed",
    "logging_steps",
    "report_to",
)


def _adapter(config: FinetuneConfig) -> dict[str, Any]:
    if config.method == "full":
        return {"finetuning_type": "full"}
    adapter: dict[str, Any] = {
        "finetuning_type": "lora",
        "lora_rank": config.r,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "lora_target": "all" if config.target_modules == "all-linear" else config.target_modules,
    }
    if config.method == "qlora":
        adapter |= {
            "quantization_method": "bnb",
            "quantization_bit": 4,
            "quantization_type": "nf4",
            "double_quantization": True,
        }
    return adapter


def _dataset_info() -> dict[str, Any]:
    return {
        _DATASET: {
            "file_name": ROWS_FILE,
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
                "system_tag": "system",
            },
        }
    }


def _tokenized(examples: Examples) -> dict[str, Content]:
    """The folder that `datasets.load_from_disk` reads: a DatasetDict with the split train."""
    from datasets import Dataset, DatasetDict

    rows = [one.as_columns() | {"attention_mask": [1] * len(one.input_ids)} for one in examples.train]
    with tempfile.TemporaryDirectory() as directory:
        DatasetDict({"train": Dataset.from_list(rows)}).save_to_disk(directory)
        files = sorted(path for path in Path(directory).rglob("*") if path.is_file())
        return {f"{TOKENIZED}/{file.relative_to(directory).as_posix()}": file.read_bytes() for file in files}


def _readme(run: RunDirectory, base: dict[str, Content]) -> str:
    return "\n".join(
        [
            f"# Run {run.id[:6]} for LLaMA-Factory {VERSION}",
            "",
            f"    llamafactory-cli train {CONFIG_FILE}",
            "",
            base_note(run, base),
            "",
            f"`{TOKENIZED}/` has the ids and labels that the run trained on, so template and mask are the run's to the",
            f"token; `{ROWS_FILE}` has the same conversations for reading. LLaMA-Factory initialises its adapter with",
            "random numbers of its own and takes the numbers that the base is stored in: its losses begin where the",
            "run's do (`losses.csv`) and follow them, but are not the same to the digit.",
            f"Speak to what it trains with `{TEMPLATE_FILE}`.",
            f"The keys were checked against the argument classes of LLaMA-Factory {VERSION}.",
            "",
        ]
    )
