"""The script that a person takes home from the QLoRA tab."""

from __future__ import annotations

from pipelines.architecture import Architecture
from pipelines.lora.script import model_source
from pipelines.memory.estimate import Estimate
from pipelines.memory.setup import MemorySetup

REQUIREMENTS = (
    "torch==2.13.0",
    "transformers==5.23.0",
    "peft==0.21.2",
    "trl==1.16.0",
    "datasets==5.2.0",
    "accelerate==1.15.0",
)
_OPTIMIZERS = {
    "adamw": "adamw_torch",
    "adamw_8bit": "adamw_8bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
}
_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def memory_script(result: Estimate, targets: object) -> str:
    """A file that trains with these settings and prints the measured peak beside the estimate.

    targets: what `target_modules` takes: "all-linear" or a list of names; ignored in full fine-tuning
    """
    setup, model = result.setup, result.model
    needs_bnb = setup.quantized or "8bit" in setup.optimizer
    requirements = "\n".join(
        f'#     "{line}",' for line in (*REQUIREMENTS, *(["bitsandbytes==0.50.2"] if needs_bnb else []))
    )
    return f'''# /// script
# requires-python = ">=3.11"
# dependencies = [
{requirements}
# ]
# ///
"""{_title(setup, model)}: estimated peak {result.total / 2**30:.1f} GiB on each GPU."""

import torch
from datasets import load_dataset
{_imports(setup)}
from trl import SFTConfig, SFTTrainer

MODEL = {model_source(model)!r}
{_quantization(setup)}
model = AutoModelForCausalLM.from_pretrained(
    MODEL,
    dtype=torch.{_DTYPES[setup.dtype]},
    attn_implementation={setup.attention!r},
{"    quantization_config=quantization," if setup.quantized else "    # not quantized"}
)
args = SFTConfig(
    output_dir={setup.method!r},
    optim={_OPTIMIZERS[setup.optimizer]!r},
    bf16={setup.dtype == "bf16"},
    fp16={setup.dtype == "fp16"},
    per_device_train_batch_size={setup.batch},
    gradient_accumulation_steps={max(1, 16 // setup.batch)},
    gradient_checkpointing={setup.gradient_checkpointing},
    max_length={setup.seq_len},
    learning_rate={"2e-5" if setup.method == "full" else "2e-4"},
    max_steps=20,
)
trainer = SFTTrainer(
    model=model,
    args=args,
    processing_class=AutoTokenizer.from_pretrained(MODEL),
    train_dataset=load_dataset("trl-lib/tldr", split="train[:1000]"),
{_peft(setup, targets)}
)
trainer.train()
if torch.cuda.is_available():
    print(f"estimated {result.total / 2**30:.1f} GiB, reserved {{torch.cuda.max_memory_reserved() / 2**30:.1f}} GiB")
'''


def accelerate_config(setup: MemorySetup) -> str:
    """The `accelerate` configuration of the chosen sharding: `accelerate launch --config_file accelerate.yaml …`."""
    head = f"""compute_environment: LOCAL_MACHINE
mixed_precision: {setup.dtype if setup.dtype != "fp32" else "no"}
num_machines: 1
num_processes: {setup.gpus}
"""
    if setup.sharding == "fsdp":
        return f"""{head}distributed_type: FSDP
fsdp_config:
  fsdp_version: 2
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_reshard_after_forward: true
  fsdp_cpu_ram_efficient_loading: true
  fsdp_state_dict_type: SHARDED_STATE_DICT
"""
    if setup.sharding.startswith("zero"):
        return f"""{head}distributed_type: DEEPSPEED
deepspeed_config:
  zero_stage: {setup.sharding.removeprefix("zero")}
  gradient_accumulation_steps: auto
  zero3_init_flag: {str(setup.sharding == "zero3").lower()}
"""
    return f"{head}distributed_type: {'MULTI_GPU' if setup.gpus > 1 else 'NO'}\n"


def _title(setup: MemorySetup, model: Architecture) -> str:
    name = "".join(character for character in model.title if character.isalnum() or character in " .-_()'/")
    how = {"full": "Full fine-tuning", "lora": "LoRA", "qlora": "QLoRA"}[setup.method]
    return f"{how} of {name}"


def _imports(setup: MemorySetup) -> str:
    lines = [] if setup.method == "full" else ["from peft import LoraConfig"]
    names = ["AutoModelForCausalLM", "AutoTokenizer"] + (["BitsAndBytesConfig"] if setup.quantized else [])
    return "\n".join([*lines, f"from transformers import {', '.join(names)}"])


def _quantization(setup: MemorySetup) -> str:
    if not setup.quantized:
        return ""
    if setup.quant == "int8":
        return "quantization = BitsAndBytesConfig(load_in_8bit=True)"
    return f"""quantization = BitsAndBytesConfig(
    load_in_4bit=True,
    bnb_4bit_quant_type={setup.quant!r},
    bnb_4bit_use_double_quant={setup.double_quant},
    bnb_4bit_compute_dtype=torch.{_DTYPES[setup.dtype]},
)"""


def _peft(setup: MemorySetup, targets: object) -> str:
    if setup.method == "full":
        return "    # every weight is trained"
    settings = f"r={setup.r}, lora_alpha={2 * setup.r}, target_modules={targets!r}"
    return f'    peft_config=LoraConfig(task_type="CAUSAL_LM", {settings}),'
