"""What other tools accept, read in their sources; their packages need other versions of ours to be installed.

`tests/benchmarks/exports.py` installs them and trains with each export.

Axolotl 0.19.0: `AxolotlInputConfig` and `SFTDataset` in src/axolotl/utils/schemas. Unknown keys are
dropped there without a word, so a wrong name would go unseen.
LLaMA-Factory 0.9.5: the dataclasses in src/llamafactory/hparams; the rest is transformers'
`TrainingArguments`. Unknown keys are an error there.
Unsloth 2026.10.9: signatures in unsloth/models/loader.py and llama.py; it takes trl from 0.18.2 to 1.15.0.
"""

AXOLOTL = {
    "base_model": str,
    "revision_of_model": str,
    "bf16": bool,
    "fp16": bool,
    "tf32": bool,
    "datasets": list,
    "shuffle_merged_datasets": bool,
    "curriculum_sampling": bool,
    "val_set_size": (int, float),
    "sequence_len": int,
    "excess_length_strategy": ("drop", "truncate", "raise"),
    "sample_packing": bool,
    "pad_to_sequence_len": bool,
    "chat_template": str,
    "chat_template_jinja": str,
    "adapter": str,
    "lora_model_dir": str,
    "lora_mlp_kernel": bool,
    "lora_qkv_kernel": bool,
    "lora_o_kernel": bool,
    "lora_r": int,
    "lora_alpha": int,
    "lora_dropout": float,
    "lora_target_linear": bool,
    "lora_target_modules": list,
    "load_in_4bit": bool,
    "bnb_config_kwargs": dict,
    "micro_batch_size": int,
    "gradient_accumulation_steps": int,
    "max_steps": int,
    "learning_rate": float,
    "lr_scheduler": str,
    "warmup_steps": int,
    "weight_decay": float,
    "optimizer": str,
    "gradient_checkpointing": bool,
    "seed": int,
    "attn_implementation": ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"),
    "logging_steps": int,
    "output_dir": str,
}
AXOLOTL_DATASET = {"path": str, "ds_type": str, "type": type(None)}
AXOLOTL_TOKENIZED_COLUMNS = {"input_ids", "attention_mask", "labels"}

LLAMA_FACTORY = {
    "model_name_or_path": str,
    "model_revision": str,
    "disable_gradient_checkpointing": bool,
    "quantization_method": ("bnb",),
    "quantization_bit": int,
    "quantization_type": ("fp4", "nf4"),
    "double_quantization": bool,
    "template": str,
    "dataset": str,
    "dataset_dir": str,
    "tokenized_path": str,
    "cutoff_len": int,
    "packing": bool,
    "disable_shuffling": bool,
    "stage": ("pt", "sft", "rm", "ppo", "dpo", "kto"),
    "finetuning_type": ("lora", "oft", "freeze", "full"),
    "lora_rank": int,
    "lora_alpha": int,
    "lora_dropout": float,
    "lora_target": str,
}
LLAMA_FACTORY_DATASET = {"file_name", "formatting", "columns", "tags"}
LLAMA_FACTORY_TAGS = {"role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "system_tag"}

UNSLOTH_LOAD = {"max_seq_length", "dtype", "load_in_4bit", "full_finetuning", "revision"}
UNSLOTH_PEFT = {
    "r",
    "target_modules",
    "lora_alpha",
    "lora_dropout",
    "use_gradient_checkpointing",
    "random_state",
}
