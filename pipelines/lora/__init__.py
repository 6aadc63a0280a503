"""LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685): what an adapter adds to a model, to the
parameter.
"""

from pipelines.lora.counting import LoraCount, LoraSetup, ModuleRow, count, lora_record, peft_line
from pipelines.lora.targets import PRESETS, Resolution, resolve

__all__ = [
    "PRESETS",
    "LoraCount",
    "LoraSetup",
    "ModuleRow",
    "Resolution",
    "count",
    "lora_record",
    "peft_line",
    "resolve",
]
