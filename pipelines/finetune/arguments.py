"""A run's configuration in the words of TRL and PEFT: one place, so that trainer and exported script cannot differ."""

from __future__ import annotations

from typing import Any

from pipelines.finetune.config import SMALL_MODEL, FinetuneConfig
from pipelines.models.device import computes_in_bf16

TRACKIO_PROJECT = "fine-tuning-studio"  # `trackio show --project fine-tuning-studio` shows its runs


def torch_dtype(config: FinetuneConfig, parameters: int, device: str) -> str:
    """`float32` or `bfloat16`: the dtype that the base model is loaded in.

    auto is float32 on a CPU for small models, where bf16 saves no time, and for all where the CPU has no units for it;
    bfloat16 otherwise.
    """
    if config.dtype != "auto":
        return "float32" if config.dtype == "fp32" else "bfloat16"
    single = device == "cpu" and (parameters < SMALL_MODEL or not computes_in_bf16(device))
    return "float32" if single else "bfloat16"


def sft_arguments(config: FinetuneConfig, parameters: int, device: str) -> dict[str, Any]:
    """Keyword arguments of `trl.SFTConfig`, without `output_dir`. Takes a resolved configuration.

    Where they differ from TRL's defaults: `learning_rate` (2e-5 there, which moves no LoRA), no gradient
    checkpointing for small models (it saves memory nobody lacks, for a fifth of the time), no loss on padding or on
    what the user says because the rows bring their labels, rows in the order they are written in (see
    `pipelines.finetune.rows.in_training_order`).
    """
    full_precision = torch_dtype(config, parameters, device) == "float32"
    return {
        "max_steps": config.max_steps,
        "per_device_train_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.scheduler,
        "warmup_steps": config.warmup_steps,
        "weight_decay": config.weight_decay,
        "optim": "adamw_torch_fused",
        "max_length": config.max_length,
        "packing": config.packing,
        "train_sampling_strategy": "sequential",
        "bf16": not full_precision,
        "use_cpu": device == "cpu",
        "gradient_checkpointing": parameters >= SMALL_MODEL,
        "seed": config.seed,
        "logging_steps": 1,
        "report_to": config.report_to,
        # Nothing leaves the machine: trackio_space_id stays None.
        **({"project": TRACKIO_PROJECT} if config.report_to == "trackio" else {}),
    }


def dpo_arguments(config: FinetuneConfig, parameters: int, device: str) -> dict[str, Any]:
    """Keyword arguments of `trl.DPOConfig`, without `output_dir`: SFT's, with the strength of the reference.

    The loss is the sigmoid one of Rafailov et al. 2023 (TRL's default) plus the SFT loss on the preferred answer, as in
    Pang et al. 2024 (RPO). Alone, the first is content to make both answers less likely, the rejected one more so: on
    the pocket pair it won 91 % of the held-out pairs after 36 steps at 5e-4 and answered 9 points worse than before;
    with the second it won all of them and answered as well as before.
    """
    shared = sft_arguments(config, parameters, device)
    del shared["packing"]
    return shared | {"beta": config.beta, "loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 1.0]}


def lora_arguments(config: FinetuneConfig) -> dict[str, Any]:
    """Keyword arguments of `peft.LoraConfig`."""
    names = [name.strip() for name in config.target_modules.split(",")]
    return {
        "task_type": "CAUSAL_LM",
        "r": config.r,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "target_modules": names[0] if names == ["all-linear"] else names,
        **({"trainable_token_indices": list(config.trainable_tokens)} if config.trainable_tokens else {}),
    }
