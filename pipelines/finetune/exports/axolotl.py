"""The configuration of a run for Axolotl, with its rows in Axolotl's pre-tokenized form.

Keys as in Axolotl 0.19.0 (`src/axolotl/utils/schemas`). Pre-tokenized rows have an empty `type` and the columns
`input_ids`, `attention_mask` and `labels` (`docs/dataset-formats/tokenized.qmd`), so template and mask are the run's
whatever Axolotl's own strategies could express. Axolotl seeds no random numbers before it makes an adapter, so a small
base comes with the adapter that the run began with. `tests/benchmarks/exports.py` trains with it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.finetune.arguments import lora_arguments, sft_arguments, torch_dtype
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.conversations import Example, Examples
from pipelines.finetune.exports.archive import Content, base_name, fits, tool_archive
from pipelines.finetune.exports.yaml_text import yaml_text
from pipelines.finetune.loading import load_base
from pipelines.finetune.run import RunDirectory
from pipelines.finetune.script import TEMPLATE_FILE
from pipelines.memory.quantization import quantization_arguments
from pipelines.models.device import choose_device

VERSION = "0.19.0"
CONFIG_FILE, ROWS_FILE, FIRST_ADAPTER = "config.yaml", "tokenized.jsonl", "first-adapter"


def axolotl_archive(run: RunDirectory, folder: Path) -> Path:
    """axolotl-<id>.zip in `folder`: config.yaml, tokenized.jsonl, chat_template.jinja, README.md, the losses, and
    a small base with the adapter before training."""
    return tool_archive(run, folder, "axolotl", _own_files)


def _own_files(run: RunDirectory, examples: Examples, base: str) -> dict[str, Content]:
    return {
        CONFIG_FILE: axolotl_config(run),
        ROWS_FILE: tokenized_lines(examples.train),
        "README.md": _readme(run, base),
        **(_first_adapter(run) if brings_adapter(run) else {}),
    }


def axolotl_config(run: RunDirectory) -> str:
    """config.yaml of a run with a resolved configuration."""
    config, model = run.config, run.model
    device = choose_device(run.record["device"])
    arguments = sft_arguments(config, model.parameters, device)
    base: dict[str, Any] = {"base_model": base_name(run)}
    if model.revision:
        base["revision_of_model"] = model.revision
    return yaml_text(
        f"Run {run.id[:6]} of the fine-tuning studio, for Axolotl {VERSION}. Start it in this folder:\n"
        f"{_command(device)}",
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
            "What is trained.": _adapter(config) | ({"lora_model_dir": FIRST_ADAPTER} if brings_adapter(run) else {}),
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
                **_without_kernels(config, device),
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
        # Axolotl computes in the dtype of the run by itself.
        quantization = quantization_arguments("bfloat16")
        del quantization["bnb_4bit_compute_dtype"]
        adapter["load_in_4bit"] = quantization.pop("load_in_4bit")
        adapter["bnb_config_kwargs"] = quantization
    return adapter


def _without_kernels(config: FinetuneConfig, device: str) -> dict[str, Any]:
    """Axolotl switches its Triton kernels on by itself, and they run on GPUs alone."""
    if device != "cpu" or config.method == "full":
        return {}
    return {"lora_mlp_kernel": False, "lora_qkv_kernel": False, "lora_o_kernel": False}


def brings_adapter(run: RunDirectory) -> bool:
    """Whether the archive has the adapter that the run began with: its random half is drawn over the loaded base."""
    return run.config.method != "full" and fits(run.model)


def _first_adapter(run: RunDirectory) -> dict[str, Content]:
    """The adapter of step 0, as TRL makes it: seeded, then drawn. The 4-bit base of a QLoRA run changes no draw."""
    import torch
    from peft import LoraConfig, get_peft_model

    config, device = run.config, choose_device(run.record["device"])
    with tempfile.TemporaryDirectory() as directory:
        base = load_base(run.model, replace(config, method="lora"), device)
        with torch.random.fork_rng():  # the studio's own draws go on as if nothing had happened
            torch.manual_seed(config.seed)
            adapter = get_peft_model(base, LoraConfig(**lora_arguments(config)))
        adapter.save_pretrained(directory)
        settings = json.loads((Path(directory) / "adapter_config.json").read_text(encoding="utf-8"))
        settings["base_model_name_or_path"] = base_name(run)
        return {
            f"{FIRST_ADAPTER}/adapter_config.json": json.dumps(settings, indent=2),
            f"{FIRST_ADAPTER}/adapter_model.safetensors": (Path(directory) / "adapter_model.safetensors").read_bytes(),
        }


def _command(device: str) -> str:
    return f"axolotl train {CONFIG_FILE}" + (" --launcher python" if device == "cpu" else "")


def _readme(run: RunDirectory, base: str) -> str:
    begins = (
        [
            f"`{FIRST_ADAPTER}/` is the adapter before the first step, which Axolotl would draw anew at every start:",
            "on a CPU its losses are the run's (`losses.csv`); on a GPU they are rounded differently and follow them.",
        ]
        if brings_adapter(run)
        else [
            "Its losses begin where the run's do (`losses.csv`) and follow them, but are not the same to the digit:",
            "rounding differs, and an adapter is drawn anew at every start.",
        ]
    )
    warm = int(run.config.warmup_steps == 1)  # `_configure_warmup_and_logging` in axolotl/core/builders/base.py
    return "\n".join(
        [
            f"# Run {run.id[:6]} for Axolotl {VERSION}",
            "",
            f"    {_command(choose_device(run.record['device']))}",
            "",
            base,
            "",
            f"`{ROWS_FILE}` has the ids and labels that the run trained on, so template and mask are the run's to the",
            "token.",
            *begins,
            *(["Axolotl makes two of one step of warm-up, so that its losses go other ways from step 2 on."] * warm),
            "",
        ]
    )
