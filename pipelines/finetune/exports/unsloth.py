"""A run as one Python file for Unsloth, with its rows, template and base.

Calls as in Unsloth 2026.10 (`FastLanguageModel.from_pretrained`, `.get_peft_model`), which trains through whichever
TRL from 0.18 to 1.15 is there: the script uses only what they have in common, and its own collator and sampler where
they differ.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.finetune.arguments import lora_arguments, sft_arguments, torch_dtype
from pipelines.finetune.exports.archive import (
    Content,
    base_files,
    base_name,
    examples_of,
    is_current,
    packed,
    write_text,
)
from pipelines.finetune.losses import losses_json
from pipelines.finetune.run import RunDirectory, is_folder
from pipelines.finetune.script import DATA_FILE, LOSSES_FILE, TEMPLATE_FILE, data_lines, source_call
from pipelines.finetune.self_contained import IMPORTS, unpack_lines, with_files
from pipelines.finetune.view import view
from pipelines.models.device import choose_device

# Unsloth patches by module name, so "all-linear" is written out as the linear layers of the Llama family.
ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# Of `SFTConfig`, what TRL 0.24 with transformers 4.57 takes as well.
SHARED_ARGUMENTS = (
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "optim",
    "max_length",
    "packing",
    "bf16",
    "seed",
    "logging_steps",
    "report_to",
)

_TRAIN = '''

class InOrder(SFTTrainer):
    """The rows are in the order of the run already; by default a trainer shuffles them."""

    def _get_train_sampler(self, *args, **kwargs):
        return SequentialSampler(self.train_dataset)


trainer = InOrder(
    model=model,
    args=arguments,
    train_dataset=data,
    processing_class=tokenizer,
    data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100),
)
trainer.train()
trainer.save_model(str(HERE / "trained"))
tokenizer.save_pretrained(str(HERE / "trained"))

# How far the losses are from those of the run: equal on a CPU; the kernels for a GPU round differently.
expected = dict(json.loads((HERE / "{losses}").read_text(encoding="utf-8")))
losses = {{entry["step"]: entry["loss"] for entry in trainer.state.log_history if "loss" in entry}}
for step in sorted(set(expected) & set(losses)):
    print(f"step {{step}}: {{losses[step]:.4f}} (the run: {{expected[step]:.4f}})")
'''


def unsloth_file(run: RunDirectory, folder: Path) -> Path:
    """unsloth-<id>.py in `folder`."""
    path = folder / f"unsloth-{run.id[:6]}.py"
    if is_current(path, run):
        return path
    examples = examples_of(run)
    files: dict[str, Content] = {
        DATA_FILE: data_lines(examples.train),
        TEMPLATE_FILE: examples.chat_template,
        LOSSES_FILE: losses_json(view(run)),
        **base_files(run, examples.chat_template),
    }
    return write_text(path, with_files(unsloth_script(run, path.stem), packed(files)))


def unsloth_script(run: RunDirectory, folder: str) -> str:
    """The script of a run with a resolved configuration, which unpacks its files into `folder`."""
    config, model = run.config, run.model
    device = choose_device(run.record["device"])
    arguments = sft_arguments(config, model.parameters, device)
    source = base_name(run)
    full = config.method == "full"
    load: dict[str, Any] = {
        "max_seq_length": config.max_length,
        "load_in_4bit": config.method == "qlora",
        "full_finetuning": full,
    }
    if model.revision:
        load["revision"] = model.revision
    lines = [
        "# /// script",
        '# requires-python = ">=3.10"',
        '# dependencies = ["unsloth"]',
        "# ///",
        f'"""Fine-tune {source} as run {run.id[:6]} of the fine-tuning studio did, with Unsloth.',
        "",
        f"Run it as it is:  uv run {folder}.py  or  python {folder}.py",
        '"""',
        "",
        "from unsloth import FastLanguageModel  # first: it patches the libraries below",
        "",
        *(f"import {name}" for name in sorted(["json", *IMPORTS])),
        "from pathlib import Path",
        "",
        "import torch",
        "from datasets import Dataset",
        "from torch.utils.data import SequentialSampler",
        "from transformers import DataCollatorForSeq2Seq",
        "from trl import SFTConfig, SFTTrainer",
        "",
        *unpack_lines(folder),
        f"MODEL = str(HERE / {json.dumps(source)})" if is_folder(model) else f"MODEL = {json.dumps(source)}",
        "",
        "# Each row has the ids of one rendered conversation, and labels: the id where the loss looks, -100 elsewhere.",
        f'with open(HERE / "{DATA_FILE}", encoding="utf-8") as file:',
        "    rows = [json.loads(line) for line in file]",
        "data = Dataset.from_list(",
        "    [",
        '        {"input_ids": row["input_ids"], "labels": row["labels"], "attention_mask": [1] * len(row["labels"])}',
        "        for row in rows",
        "    ]",
        ")",
        "",
        "model, tokenizer = FastLanguageModel.from_pretrained(",
        "    MODEL,",
        f"    dtype=torch.{torch_dtype(config, model.parameters, device)},",
        *(f"    {key}={value!r}," for key, value in load.items()),
        ")",
        "# The template that the rows were rendered with: it is saved with what is trained.",
        f'tokenizer.chat_template = (HERE / "{TEMPLATE_FILE}").read_text(encoding="utf-8")',
    ]
    if not full:
        lora = {key: value for key, value in lora_arguments(config).items() if key != "task_type"}
        if lora["target_modules"] == "all-linear":
            lora["target_modules"] = ALL_LINEAR
        gradients = "unsloth" if arguments["gradient_checkpointing"] else False
        lora |= {"use_gradient_checkpointing": gradients, "random_state": config.seed}
        lines += source_call("model", "FastLanguageModel.get_peft_model", lora, first="model")
    shared = {key: arguments[key] for key in SHARED_ARGUMENTS}
    settings = {"output_dir": "checkpoints", "dataset_kwargs": {"skip_prepare_dataset": True}, **shared}
    lines += source_call("arguments", "SFTConfig", settings)
    return "\n".join(lines) + "\n" + _TRAIN.format(losses=LOSSES_FILE)
