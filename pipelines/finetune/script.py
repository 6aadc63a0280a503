"""A run as one plain TRL script, to be repeated without the studio.

The script reads `train.jsonl`: conversations in training order, each with the ids and labels that the run trained on,
so that template and mask are the run's to the token. Its header is inline metadata (PEP 723): `uv run` and hosted job
runners install what it needs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipelines.finetune.arguments import (
    dpo_arguments,
    lora_arguments,
    sft_arguments,
    torch_dtype,
)
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.conversations import Example
from pipelines.finetune.run import TrainedModel, is_folder
from pipelines.finetune.self_contained import IMPORTS, unpack_lines
from pipelines.memory.quantization import quantization_arguments
from pipelines.messages import as_dicts

DATA_FILE = "train.jsonl"
TEMPLATE_FILE = "chat_template.jinja"
LOSSES_FILE = "losses.json"
START_FOLDER = "start"

_CONVERSATIONS = [
    "# Each row has the ids of one rendered conversation, and labels: the id where the loss looks, -100 elsewhere.",
    'COLUMNS = ("input_ids", "labels")',
]
_PAIRS = [
    "# Each row has the ids of a rendered prompt, of the answer to prefer and of the one to reject.",
    'COLUMNS = ("prompt_ids", "chosen_ids", "rejected_ids")',
]
_TOKENIZED = [
    "",
    "",
    "class Tokenized(DPOTrainer):",
    "    def _prepare_dataset(self, dataset, *args, **kwargs):",
    "        return dataset  # the rows are tokenized already",
    "",
    "",
    "trainer = Tokenized(",
]

_TRAINED_ROWS = [
    "# TRL asks the output head for its bias; PEFT's wrapper of a head whose rows are trained has none to give.",
    "from peft.utils.other import TrainableTokensWrapper  # noqa: E402",
    "",
    "TrainableTokensWrapper.bias = None",
    "",
]

_COMPARE = f'''
# How far the losses are from those of the run, step by step.
expected = dict(json.loads((HERE / "{LOSSES_FILE}").read_text(encoding="utf-8")))
losses = {{entry["step"]: entry["loss"] for entry in trainer.state.log_history if "loss" in entry}}
apart = [abs(losses[step] - loss) / abs(loss) for step, loss in expected.items() if step in losses and loss]
print(f"largest difference to the losses of the run: {{max(apart, default=0):.2%}} over {{len(apart)}} steps")
'''


def training_script(config: FinetuneConfig, model: TrainedModel, device: str = "cpu", folder: str = "") -> str:
    """The script of a resolved configuration. `model.shown` is what it loads: a Hub id, or a folder beside its rows.

    folder: where the script unpacks what it brings at its end (`self_contained`); empty where it brings nothing
    """
    quantized, full = config.method == "qlora", config.method == "full"
    preferring, further = config.objective == "dpo", bool(model.continues)
    kind = "DPO" if preferring else "SFT"
    source = model.shown.rsplit("/", 1)[-1] if is_folder(model) else model.shown
    folders = [*([source] if is_folder(model) else []), *([START_FOLDER] if further else [])]
    beside = f"{TEMPLATE_FILE}, with the folder {' and '.join(folders)}" if folders else TEMPLATE_FILE
    packages = ["accelerate", "datasets", *([] if full else ["peft"]), "torch", "transformers", "trl"]
    packages += ["bitsandbytes"] if quantized else []
    packages += ["trackio"] if config.report_to == "trackio" else []
    lines = [
        "# /// script",
        '# requires-python = ">=3.10"',
        "# dependencies = [",
        *(f'#     "{requirement(name)}",' for name in packages),
        "# ]",
        "# ///",
        f'"""Fine-tune {source} as the studio does: {_what(config)}.',
        "",
        *(
            [f"Run it as it is:  uv run {folder}.py  or  python {folder}.py"]
            if folder
            else [f"Run it beside {DATA_FILE} and {beside}:  python train.py"]
        ),
        '"""',
        "",
        *(f"import {name}" for name in sorted(["json", *(IMPORTS if folder else ())])),
        "from pathlib import Path",
        "",
        "import torch",
        "from datasets import Dataset",
        *([] if full else [f"from peft import {'PeftModel' if further else 'LoraConfig'}"]),
        f"from transformers import AutoModelForCausalLM, AutoTokenizer{', BitsAndBytesConfig' if quantized else ''}",
        f"from trl import {kind}Config, {kind}Trainer",
        "",
        *(unpack_lines(folder) if folder else ["HERE = Path(__file__).parent"]),
        f"MODEL = str(HERE / {json.dumps(source)})" if is_folder(model) else f"MODEL = {json.dumps(source)}",
        *([f"REVISION = {json.dumps(model.revision)}"] if model.revision else []),
        "",
        *(_PAIRS if preferring else _CONVERSATIONS),
        f'with open(HERE / "{DATA_FILE}", encoding="utf-8") as file:',
        "    rows = [json.loads(line) for line in file]",
        "data = Dataset.from_list([{name: row[name] for name in COLUMNS} for row in rows])",
        "",
    ]
    revision = ", revision=REVISION" if model.revision else ""
    dtype = torch_dtype(config, model.parameters, device)
    if quantized:
        lines += source_call("quantization", "BitsAndBytesConfig", quantization_arguments(dtype))
    quantize = ", quantization_config=quantization" if quantized else ""
    lines += [
        f"tokenizer = AutoTokenizer.from_pretrained(MODEL{revision})",
        "if tokenizer.pad_token is None:",
        "    tokenizer.pad_token = tokenizer.eos_token",
        "# The template that the rows were rendered with: it is saved with the adapter, and is the one to speak with.",
        f'tokenizer.chat_template = (HERE / "{TEMPLATE_FILE}").read_text(encoding="utf-8")',
        f"model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.{dtype}{quantize}{revision})",
        "",
    ]
    if further:
        lines[-1:] = [
            f"# The adapter that is trained further: {model.continues} of the studio.",
            f'model = PeftModel.from_pretrained(model, HERE / "{START_FOLDER}", is_trainable=True)',
            "",
        ]
    elif not full:
        lines += source_call("lora", "LoraConfig", lora_arguments(config))
    if config.trainable_tokens or further:
        lines += _TRAINED_ROWS
    told = (dpo_arguments if preferring else sft_arguments)(config, model.parameters, device)
    lines += source_call("arguments", f"{kind}Config", {"output_dir": "checkpoints", **told})
    lines += [
        *(_TOKENIZED if preferring else ["trainer = SFTTrainer("]),
        "    model=model,",
        "    args=arguments,",
        "    train_dataset=data,",
        "    processing_class=tokenizer,",
        *([] if full or further else ["    peft_config=lora,"]),
        ")",
        "trainer.train()",
        *(
            [
                "# Alone: DPO of an adapter keeps a copy of how it began beside it.",
                'trainer.model.save_pretrained("adapter", selected_adapters=["default"])',
                'tokenizer.save_pretrained("adapter")',
            ]
            if further
            else [f'trainer.save_model("{"model" if full else "adapter"}")']
        ),
    ]
    return "\n".join(lines) + "\n" + (_COMPARE if folder else "")


def data_lines(examples: Sequence[Example]) -> str:
    """`train.jsonl`: one row for each example, in training order: messages and what `as_columns` or `as_pair` gives."""
    rows = (
        {"messages": as_dicts(one.messages)}
        | ({"rejected": one.rejected} | one.as_pair() if one.pair else one.as_columns())
        for one in examples
    )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def requirement(name: str) -> str:
    """The package at the version that the run was trained with; local builds ("+cpu") have no place elsewhere."""
    try:
        return f"{name}=={version(name).partition('+')[0]}"
    except PackageNotFoundError:
        return name


def _what(config: FinetuneConfig) -> str:
    if config.method == "full":
        return "full fine-tuning"
    adapter = f"{'QLoRA' if config.method == 'qlora' else 'LoRA'}, rank {config.r}"
    return f"DPO with {adapter}" if config.objective == "dpo" else adapter


def _literal(value: Any) -> str:
    """Python source, with texts in double quotes."""
    if isinstance(value, str | list):
        return json.dumps(value)
    return repr(value)


def source_call(name: str, function: str, arguments: dict[str, Any], first: str = "") -> list[str]:
    """Source lines of `name = function(first, key=value, …)`."""
    body = [f"    {key}={_literal(value)}," for key, value in arguments.items()]
    return [f"{name} = {function}(", *([f"    {first},"] if first else []), *body, ")"]
