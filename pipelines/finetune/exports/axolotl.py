"""The configuration of a run for Axolotl, with its rows in Axolotl's pre-tokenized form.

Keys as in Axolotl 0.18.0 (`src/axolotl/utils/schemas`). Pre-tokenized rows have an empty `type` and the columns
`input_ids`, `attention_mask` and `labels` (`docs/dataset-formats/tokenized.qmd`), so template and mask are the run's
whatever Axolotl's own strategies could express.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.finetune.arguments import quantization_arguments, sft_arguments, torch_dtype
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.conversations import Example
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
from pipelines.models.device import choose_device

VERSION = "0.18.0"
CONFIG_FILE, ROWS_FILE = "config.yaml", "tokenized.jsonl"


def axolotl_archive(run: RunDirectory, folder: Path) -> Path:
    """axolotl-<id>.zip in `folder`: config.yaml, tokenized.jsonl, chat_template.jinja, a small base, README.md."""
    path = folder / f"axolotl-{run.id[:6]}.zip"
    if is_current(path, run):
        return path
    examples = examples_of(run)
    base = base_files(run, examples.chat_template)
    files: dict[str, Content] = {
        CONFIG_FILE: axolotl_config(run),
        ROWS_FILE: tokenized_lines(examples.train),
        TEMPLATE_FILE: examples.chat_template,
        "losses.csv": losses_csv(run),
        "README.md": _readme(run, base),
        **base,
    }
    return pack(path, {f"{path.stem}/{name}": content for name, content in files.items()})


def axolotl_config(run: RunDirectory) -> str:
    """config.yaml of a run with a resolved configuration."""
    config, model = run.config, run.model
    device = choose_device(run.record["device"])
    arguments = sft_arguments(config, model.parameters, device)
    base: dict[str, Any] = {"base_model": base_name(run)}
    if model.revision:
        base["revision_of_model"] = model.revision
    return yaml_text(
        f"Run {run.id[:6]} of the fine-tuning studio, for Axolotl {VERSION}. Start it in this folder, on a machine\n"
        "with a GPU:  axolotl train config.yaml",
        {
            "The base, in the numbers of the run.": base | _numbers(config, model.parameters, device),
            "Rows that are tokenized and labelled already: an empty type, and the loss looks where labels are not\n"
            "-100. They stay in the order of the run.": {
                "datasets": [{"path": ROWS_FILE, "ds_type": "json", "type": None}],
                "shuffle_merged_datasets": False,
                "curriculum_sampling": True,
                "val_set_size": 0,
                "sequence_len": config.max_length,
                "excess_length_strategy": "truncate",
                "sample_packing": config.packing,
                "pad_to_sequence_len": False,
            },
            "The template that the rows were rendered with: it is saved with what is trained, nothing else.": {
                "chat_template": "jinja",
                "chat_template_jinja": TEMPLATE_FILE,
            },
            "What is trained.": _adapter(config),
            "How.": {
                "micro_batch_size": arguments["per_device_train_batch_size"],
                "gradient_accumulation_steps": arguments["gradient_accumulation_steps"],
                "max_steps": arguments["max_steps"],
                "learning_rate": arguments["learning_rate"],
                "lr_scheduler": arguments["lr_scheduler_type"],
                "warmup_steps": arguments["warmup_steps"],
                "weight_decay": arguments["weight_decay"],
                "optimizer": arguments["optim"],
                "gradient_checkpointing": arguments["gradient_checkpointing"],
                "seed": arguments["seed"],
                "attn_implementation": "sdpa",
                "logging_steps": 1,
                "output_dir": "trained",
            },
        },
    )


def tokenized_lines(examples: Sequence[Example]) -> str:
    """One row of exactly input_ids, attention_mask and labels for each example, in training order."""
    rows = (
        {
            "input_ids": list(one.input_ids),
            "attention_mask": [1] * len(one.input_ids),
            "labels": list(one.labels),
        }
        for one in examples
    )
    return "".join(json.dumps(row) + "\n" for row in rows)


def _numbers(config: FinetuneConfig, parameters: int, device: str) -> dict[str, Any]:
    half = torch_dtype(config, parameters, device) == "bfloat16"
    return {"bf16": half, "fp16": False, "tf32": False}


def _adapter(config: FinetuneConfig) -> dict[str, Any]:
    if config.method == "full":
        return {}
    adapter: dict[str, Any] = {"adapter": config.method, "lora_r": config.r, "lora_alpha": config.lora_alpha}
    adapter["lora_dropout"] = config.lora_dropout
    if config.target_modules == "all-linear":
        adapter["lora_target_linear"] = True
    else:
        adapter["lora_target_modules"] = config.target_modules.split(",")
    if config.method == "qlora":
        quantization = quantization_arguments()
        adapter["load_in_4bit"] = quantization.pop("load_in_4bit")
        adapter["bnb_config_kwargs"] = {
            key: value for key, value in quantization.items() if key != "bnb_4bit_compute_dtype"
        }
    return adapter


def _readme(run: RunDirectory, base: dict[str, Content]) -> str:
    return "\n".join(
        [
            f"# Run {run.id[:6]} for Axolotl {VERSION}",
            "",
            "    axolotl train config.yaml",
            "",
            base_note(run, base),
            "",
            f"`{ROWS_FILE}` has the ids and labels that the run trained on, so template and mask are the run's to the",
            "token. Axolotl trains on GPUs, and initialises its adapter with random numbers of its own: its losses",
            "begin where the run's do (`losses.csv`) and follow them, but are not the same to the digit.",
            f"The keys were checked against the configuration schema of Axolotl {VERSION}.",
            "",
        ]
    )
