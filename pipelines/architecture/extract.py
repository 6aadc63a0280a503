"""From a configuration to an architecture, by building the model on the meta device: shapes, no weights.

This is the only module of the calculators that needs torch and transformers, and it imports them when called.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipelines.architecture.records import Architecture, Dimensions, Kind, Weight
from pipelines.building import BUILDING
from pipelines.errors import InputError, unknown

# A model on the meta device still costs its Python objects: these bounds keep one build within seconds.
MAX_LAYERS = 256
MAX_EXPERTS = 1_024
MAX_NUMBER = 50_000_000
_LAYER = re.compile(r"\.(\d+)\.")


def build_on_meta(config: Mapping[str, Any]) -> Any:
    """The transformers model of a `config.json`, on the meta device, in bf16.

    Raises InputError for a configuration that is no causal language model of the installed transformers,
    or beyond the bounds. Code that comes with a model is never run.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    model_type = check_config(config)
    if model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise unknown(model_type, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, "model, model_type")
    fields = {key: value for key, value in config.items() if key not in _IGNORED}
    try:
        parsed = AutoConfig.for_model(**fields)
        parsed = parsed.get_text_config()
        with BUILDING, torch.device("meta"):
            return AutoModelForCausalLM.from_config(parsed, dtype=torch.bfloat16, attn_implementation="eager")
    except InputError:
        raise
    except Exception as error:  # the configuration is a visitor's: whatever it breaks is theirs to repair
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise InputError(
            f"transformers cannot build this {model_type} configuration ({reason})",
            "model",
            "Paste the config.json of a causal language model as published.",
        ) from error


def check_config(config: Mapping[str, Any]) -> str:
    """The model_type of a configuration that stays within the bounds; needs no library. Raises InputError."""
    if not isinstance(config, Mapping):
        raise InputError("the configuration is no JSON object", "model", "Paste the whole config.json.")
    _check_bounds(config, "config")
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise InputError("the configuration has no model_type", "model", "Paste the whole config.json.")
    return model_type


# Fields that describe a checkpoint's storage or bring code with them, not its architecture.
_IGNORED = {
    "auto_map",
    "quantization_config",
    "torch_dtype",
    "dtype",
    "_attn_implementation",
    "_name_or_path",
}


def _check_bounds(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        for key, part in value.items():
            _check_bounds(part, str(key))
    elif isinstance(value, list | tuple):
        for part in value[:10_000]:
            _check_bounds(part, where)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        limit = MAX_LAYERS if "layers" in where or where == "n_layer" else MAX_NUMBER
        if "experts" in where and "num" in where:
            limit = MAX_EXPERTS
        # Rotary bases may be large: they are no sizes.
        if abs(value) > limit and "theta" not in where and "base" not in where:
            raise InputError(f"{where} is {value}", "model", f"At most {limit:,} is read.")


def extract(facts: Mapping[str, str], config: Mapping[str, Any]) -> Architecture:
    """The architecture of one configuration; `facts` holds key, title, source and hub_id. Needs seconds."""
    model = build_on_meta(config)
    head = model.get_output_embeddings()
    head_name = next((name for name, module in model.named_modules() if module is head), "")
    return Architecture(
        key=facts["key"],
        title=facts["title"],
        source=facts["source"],
        hub_id=facts["hub_id"],
        model_type=model.config.model_type,
        moe_names=_moe_names(model.config.model_type),
        head=head_name,
        weights=_weights(model, head_name),
        dimensions=_dimensions(model),
    )


def _moe_names(model_type: str) -> str:
    """The family by which PEFT renames a mixture's targets (peft.utils.transformers_weight_conversion)."""
    from peft.utils import transformers_weight_conversion as conversion

    family = conversion._MODEL_TO_CONVERSION_PATTERN.get(model_type, "")
    return family if family in conversion._MOE_TARGET_MODULE_MAPPING else ""


def _weights(model: Any, head: str) -> tuple[Weight, ...]:
    """Rows in the order of the model; layers that are alike become one row with a count."""
    import torch
    from transformers.pytorch_utils import Conv1D

    seen = {id(parameter) for name, parameter in model.named_parameters() if name != f"{head}.weight"}
    counts: dict[tuple[str, Kind, tuple[int, ...], bool, bool], int] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owner_name, _, leaf = name.rpartition(".")
        owner = model.get_submodule(owner_name)
        kind: Kind = "parameter"
        if leaf == "weight":
            if isinstance(owner, torch.nn.Linear):
                kind = "linear"
            elif isinstance(owner, Conv1D):
                kind = "conv1d"
            elif isinstance(owner, torch.nn.Embedding):
                kind = "embedding"
        tied = owner_name == head and id(parameter) in seen
        transposed = bool(getattr(owner, "is_transposed", False)) and parameter.dim() == 3
        row = (_LAYER.sub(".{}.", name, count=1), kind, tuple(parameter.shape), tied, transposed)
        counts[row] = counts.get(row, 0) + 1
    return tuple(
        Weight(name, kind, shape, count, tied, transposed)
        for (name, kind, shape, tied, transposed), count in counts.items()
    )


def _dimensions(model: Any) -> Dimensions:
    config = model.config
    heads = config.num_attention_heads
    intermediate = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
    experts = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None) or 0
    experts = experts or getattr(config, "n_routed_experts", None) or 0
    if experts:
        intermediate = getattr(config, "moe_intermediate_size", None) or intermediate
    names = {_LAYER.sub(".{}.", name, count=1) for name, _ in model.named_modules()}
    in_layers = {name.rpartition(".")[2] for name in names if "{}" in name}
    norms = {leaf for leaf in in_layers if "norm" in leaf or leaf in ("ln_1", "ln_2")}
    return Dimensions(
        hidden=config.hidden_size,
        intermediate=intermediate or 4 * config.hidden_size,
        vocab=config.vocab_size,
        layers=config.num_hidden_layers,
        heads=heads,
        kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        experts=experts,
        experts_per_token=(getattr(config, "num_experts_per_tok", None) or 0) if experts else 0,
        gated=bool(in_layers & {"gate_proj", "gate_up_proj", "experts", "w3"}),
        norms=len(norms - {"q_norm", "k_norm"}),
        context=getattr(config, "max_position_embeddings", 0) or 0,
    )
