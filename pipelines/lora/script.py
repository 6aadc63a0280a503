"""The script that a person takes home from the LoRA tab: it builds the adapter that was counted, and trains
it.
"""

from __future__ import annotations

from pipelines.architecture import Architecture
from pipelines.lora.counting import LoraCount, LoraSetup, peft_line

REQUIREMENTS = ("torch==2.13.0", "transformers==5.23.0", "peft==0.21.2", "trl==1.16.0", "datasets==5.2.0")


def lora_script(model: Architecture, setup: LoraSetup, counted: LoraCount, rslora: bool = False) -> str:
    """A file that runs as it is: PEFT counts what the studio counted, then TRL trains."""
    lines = [
        f"    r={setup.r},",
        f"    lora_alpha={setup.alpha:g},",
        f"    target_modules={_targets(counted)},",
    ]
    if counted.resolution.parameters:
        lines.append(f"    target_parameters={list(counted.resolution.parameters)!r},")
    if setup.dora:
        lines.append("    use_dora=True,")
    if rslora:
        lines.append("    use_rslora=True,")
    if setup.modules_to_save:
        lines.append(f"    modules_to_save={list(setup.modules_to_save)!r},")
    settings = "\n".join(lines)
    requirements = "\n".join(f'#     "{line}",' for line in REQUIREMENTS)
    return f'''# /// script
# requires-python = ">=3.11"
# dependencies = [
{requirements}
# ]
# ///
"""LoRA on {_plain(model.title)}: {counted.trainable:,} of {counted.total:,} parameters are trained."""

from datasets import load_dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

MODEL = {model_source(model)!r}

model = AutoModelForCausalLM.from_pretrained(MODEL, dtype="bfloat16")
config = LoraConfig(
    task_type="CAUSAL_LM",
{settings}
)
model = get_peft_model(model, config)
model.print_trainable_parameters()
# {peft_line(counted)}
assert model.get_nb_trainable_parameters() == ({counted.trainable}, {counted.total})

trainer = SFTTrainer(
    model=model,
    args=SFTConfig(
        output_dir="lora",
        learning_rate=2e-4,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=16,
        max_length=1024,
        num_train_epochs=1,
    ),
    processing_class=AutoTokenizer.from_pretrained(MODEL),
    train_dataset=load_dataset("trl-lib/tldr", split="train[:1000]"),
)
trainer.train()
trainer.save_model("lora")
'''


def model_source(model: Architecture) -> str:
    """What `from_pretrained` takes: the Hub id, the pair's folder, or the folder that holds a pasted
    config.json.
    """
    if model.hub_id:
        return model.hub_id
    return "assets/models/pocket-base" if model.key == "pocket" else "./model"


def _targets(counted: LoraCount) -> str:
    names = list(counted.resolution.names)
    return '"all-linear"' if names == ["all-linear"] else repr(names)


def _plain(text: str) -> str:
    """A pasted configuration's name inside a docstring: letters, digits and a few marks only."""
    return "".join(character for character in text if character.isalnum() or character in " .-_()'/")
