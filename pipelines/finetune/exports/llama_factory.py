"""The configuration of a run for LLaMA-Factory, with its rows in the tokenized form that it reads.

Keys as in LLaMA-Factory 0.9.5 (`src/llamafactory/hparams`). `tokenized_path` is a folder that
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
from pipelines.finetune.exports.archive import Content, base_name, tool_archive
from pipelines.finetune.exports.yaml_text import yaml_text
from pipelines.finetune.run import RunDirectory
from pipelines.finetune.script import TEMPLATE_FILE
from pipelines.messages import as_dicts
from pipelines.models.device import choose_device

VERSION = "0.9.5"
CONFIG_FILE, ROWS_FILE, TOKENIZED = "train.yaml", "conversations.jsonl", "tokenized"
_DATASET = "run"


def llama_factory_archive(run: RunDirectory, folder: Path) -> Path:
    """llama-factory-<id>.zip in `folder`: train.yaml, dataset_info.json, both forms of the rows, a small base."""
    return tool_archive(run, folder, "llama-factory", _own_files)


def _own_files(run: RunDirectory, examples: Examples, base: str) -> dict[str, Content]:
    conversations = (json.dumps({"messages": as_dicts(one.messages)}, ensure_ascii=False) for one in examples.train)
    return {
        CONFIG_FILE: llama_factory_config(run),
        "dataset_info.json": json.dumps(_dataset_info(), indent=2) + "\n",
        ROWS_FILE: "".join(line + "\n" for line in conversations),
        "README.md": _readme(run, base),
        **_tokenized(examples),
    }


def llama_factory_config(run: RunDirectory) -> str:
    """train.yaml of a run with a resolved configuration."""
    config, model = run.config, run.model
    arguments = sft_arguments(config, model.parameters, choose_device(run.record["device"]))
    base = {"model_name_or_path": base_name(run)} | ({"model_revision": model.revision} if model.revision else {})
    return yaml_text(
        f"Run {run.id[:6]} of the fine-tuning studio, for LLaMA-Factory {VERSION}. Start it in this folder:\n"
        f"llamafactory-cli train {CONFIG_FILE}",
        {
            "The base. LLaMA-Factory trains in the numbers that its config.json names.": base,
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


def _readme(run: RunDirectory, base: str) -> str:
    return "\n".join(
        [
            f"# Run {run.id[:6]} for LLaMA-Factory {VERSION}",
            "",
            *(["    pip install bitsandbytes"] if run.config.method == "qlora" else []),
            f"    llamafactory-cli train {CONFIG_FILE}",
            "",
            base,
            "",
            f"`{TOKENIZED}/` has the ids and labels that the run trained on, so template and mask are the run's to the",
            f"token; `{ROWS_FILE}` has the same conversations for reading. The adapter is drawn from the run's seed:",
            "where the base is stored in the numbers of the run, the losses on a CPU are the run's (`losses.csv`); on",
            "a GPU, or from a base stored in others, they are rounded differently and follow them.",
            f"Speak to what it trains with `{TEMPLATE_FILE}`.",
            "",
        ]
    )
