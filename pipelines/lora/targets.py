"""Which modules an adapter goes on: presets and names, resolved as PEFT 0.21.2 resolves them.

A preset is a wish in Llama's words ("q,v"); models that fuse projections (Phi-3's `qkv_proj`, GPT-2's
`c_attn`) get the module that contains them, and the resolution says so. Mixtures of experts follow
`peft.utils.transformers_weight_conversion`: names of transformers 4 (`gate_proj`, Mixtral's `w1`) mean the
stacked parameters of transformers 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.architecture import Architecture, Weight
from pipelines.errors import InputError, unknown

PRESETS = ("q,v", "q,k,v,o", "mlp", "all-linear")

# Attention projections by what they compute, in the spellings of the families.
_QUERY, _KEY, _VALUE = (
    ("q_proj", "q_a_proj", "q_b_proj"),
    ("k_proj", "kv_a_proj_with_mqa", "kv_b_proj"),
    ("v_proj",),
)
_OUTPUT = ("o_proj", "out_proj", "dense")
_FUSED_QKV = ("qkv_proj", "c_attn", "query_key_value", "Wqkv", "W_pack")
_MLP = (
    "gate_proj", "up_proj", "down_proj", "gate_up_proj", "fc1", "fc2", "fc_in", "fc_out",
    "c_fc", "dense_h_to_4h", "dense_4h_to_h", "w1", "w2", "w3",
)  # fmt: skip

# peft.utils.transformers_weight_conversion._MOE_TARGET_MODULE_MAPPING of 0.21.2; a test compares them.
MOE_NAMES: dict[str, dict[str, str]] = {
    "mixtral": {"gate": "gate.weight", "w1": "gate_up_proj", "w3": "gate_up_proj", "w2": "down_proj"},
    "qwen2_moe": {
        "gate": "gate.weight",
        "gate_proj": "gate_up_proj",
        "up_proj": "gate_up_proj",
        "down_proj": "down_proj",
    },
}
# The pair that a mixture fuses into `gate_up_proj`; PEFT wants both or neither, and doubles the rank.
_MOE_FUSED = {"mixtral": ("w1", "w3"), "qwen2_moe": ("gate_proj", "up_proj")}
_MOE_EXPERTS = {"mixtral": ("w1", "w2", "w3"), "qwen2_moe": ("gate_proj", "up_proj", "down_proj")}


@dataclass(frozen=True, slots=True)
class Target:
    """One weight that gets an adapter. `rank_factor`: how many times r its rank is (2 for fused expert
    pairs).
    """

    weight: Weight
    rank_factor: int = 1


@dataclass(frozen=True, slots=True)
class Resolution:
    """What was asked, made concrete.

    names:      what to write as `target_modules` in a LoraConfig: module names, or "all-linear"
    parameters: what to write as `target_parameters` (stacked experts that no module name reaches)
    targets:    the weights that get an adapter
    notes:      sentences for the reader, where a preset means something else than its words
    """

    names: tuple[str, ...]
    parameters: tuple[str, ...]
    targets: tuple[Target, ...]
    notes: tuple[str, ...]


def resolve(architecture: Architecture, targets: str, modules_to_save: Sequence[str] = ()) -> Resolution:
    """`targets` (a preset, or comma-separated module names) on this architecture.

    Modules that `modules_to_save` trains in full get no adapter. Raises InputError for names that match
    nothing, naming the nearest module, and where PEFT itself refuses.
    """
    asked = ",".join(part.strip() for part in targets.split(",") if part.strip())
    if not asked:
        raise InputError("no module is named", "targets", f"Use one of {'; '.join(PRESETS)}, or module names.")
    names, parameters, notes = _names(architecture, asked)
    found = _match(architecture, names, parameters, asked == "all-linear")
    found = tuple(target for target in found if not _saved(target.weight.module, modules_to_save))
    if not found:
        raise InputError(
            f"every module of '{targets}' is already in modules_to_save",
            "targets",
            "Name other modules, or shorten modules_to_save.",
        )
    return Resolution(names, parameters, found, notes)


def linear_names(architecture: Architecture) -> tuple[str, ...]:
    """Last names of all modules LoRA can go on by name, in the order of the model, the head and embeddings
    last.
    """
    inside = [weight for weight in architecture.weights if weight.kind in ("linear", "conv1d")]
    leaves = dict.fromkeys(weight.module.rpartition(".")[2] for weight in inside if weight.module != architecture.head)
    rest = [weight.module.rpartition(".")[2] for weight in architecture.weights if weight.kind == "embedding"]
    return (*leaves, *dict.fromkeys(rest), architecture.head.rpartition(".")[2])


def _names(architecture: Architecture, asked: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """(module names, parameter names, notes) of a preset or a list."""
    if asked not in PRESETS:
        return _check_names(architecture, tuple(dict.fromkeys(asked.split(",")))), (), ()
    if asked == "all-linear":
        notes = ["all-linear leaves out the output head."]
        if architecture.moe_names:
            notes.append("PEFT adapts the router and the experts too, which are stacked parameters.")
        elif architecture.dimensions.experts:
            notes.append(
                "The experts are stacked parameters, not linear modules: PEFT leaves them out here; "
                "the mlp preset has them."
            )
        return ("all-linear",), (), tuple(notes)
    return _mlp(architecture) if asked == "mlp" else _attention(architecture, asked)


def _attention(architecture: Architecture, asked: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    present = linear_names(architecture)
    fused = tuple(name for name in _FUSED_QKV if name in present)
    full = asked == "q,k,v,o"
    if fused:
        output = tuple(name for name in _OUTPUT if name in present)
        # GPT-2 calls the attention's and the MLP's output projection alike; PEFT tells them apart by the
        # longer name.
        if "c_attn" in fused:
            output = ("attn.c_proj",)
        note = f"Queries, keys and values are one module here, {fused[0]}: the preset adapts all three."
        return fused + (output if full else ()), (), (note,)
    wanted = _QUERY + _VALUE if not full else _QUERY + _KEY + _VALUE + _OUTPUT
    names = tuple(name for name in wanted if name in present)
    if not names:
        raise InputError(
            f"{architecture.title} has no query and value projections by a known name",
            "targets",
            f"Name modules: {', '.join(present)}.",
        )
    return names, (), ()


def _mlp(architecture: Architecture) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    if architecture.moe_names:
        note = "The experts of one layer are stacked parameters; PEFT gives each expert its own A and B."
        return _MOE_EXPERTS[architecture.moe_names], (), (note,)
    if architecture.dimensions.experts:
        stacked = tuple(
            dict.fromkeys(weight.name.rpartition("{}.")[2] for weight in architecture.weights if len(weight.shape) == 3)
        )
        if stacked:
            note = "The experts are stacked parameters: PEFT reaches them through target_parameters."
            return (), stacked, (note,)
    present = linear_names(architecture)
    names = tuple(name for name in _MLP if name in present)
    notes: tuple[str, ...] = ()
    if "c_fc" in names:
        names += ("mlp.c_proj",)
    if "gate_up_proj" in names:
        notes = ("This model computes gate and up in one module, gate_up_proj.",)
    if not names:
        raise InputError(
            f"{architecture.title} has no MLP by a known name",
            "targets",
            f"Name modules: {', '.join(present)}.",
        )
    return names, (), notes


def _check_names(architecture: Architecture, names: tuple[str, ...]) -> tuple[str, ...]:
    """Each name must be a module, or one of PEFT's old names for experts; one wrong name is a mistake, not a
    wish.
    """
    moe = MOE_NAMES.get(architecture.moe_names, {})
    modules = {weight.module for weight in architecture.weights if weight.kind != "parameter"}
    for name in names:
        if name in moe or any(_is_suffix(module, name) for module in modules):
            continue
        raise unknown(name, {*linear_names(architecture), *moe}, "targets")
    pair = set(_MOE_FUSED.get(architecture.moe_names, ()))
    if pair and len(pair & set(names)) == 1:
        (missing,) = pair - set(names)
        (present,) = pair & set(names)
        raise InputError(
            f"{present} and {missing} are one fused parameter in this model",
            "targets",
            f"Name {missing} as well.",
        )
    return names


def _is_suffix(module: str, name: str) -> bool:
    return module == name or module.endswith(f".{name}")


def _saved(module: str, modules_to_save: Sequence[str]) -> bool:
    """PEFT's check_target_module_exists: a module at or below a saved one is never adapted."""
    return any(f".{module}.".find(f".{name}.") >= 0 for name in modules_to_save)


def _match(
    architecture: Architecture, names: tuple[str, ...], parameters: tuple[str, ...], everything: bool
) -> tuple[Target, ...]:
    moe = MOE_NAMES.get(architecture.moe_names, {})
    if everything:
        linear = [w for w in architecture.weights if w.kind in ("linear", "conv1d") and w.module != architecture.head]
        if not moe:
            return tuple(Target(weight) for weight in linear)
        names = (*dict.fromkeys(weight.module.rpartition(".")[2] for weight in linear), *moe)
    wanted = set(parameters) | {moe[name] for name in names if name in moe}
    plain = [name for name in names if name not in moe]
    doubled = set(_MOE_FUSED.get(architecture.moe_names, ())) <= set(names)
    found = []
    for weight in architecture.weights:
        if weight.kind != "parameter" and any(_is_suffix(weight.module, name) for name in plain):
            found.append(Target(weight))
        elif weight.kind == "parameter" and any(_is_suffix(weight.name, name) for name in wanted):
            fused = doubled and bool(moe) and weight.name.endswith(".gate_up_proj")
            found.append(Target(weight, 2 if fused else 1))
    return tuple(found)
