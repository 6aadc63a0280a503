"""The switches of a drawn transformer block: which modules an adapter can go on, and what pressing one
means.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pipelines.architecture import Architecture
from pipelines.errors import InputError
from pipelines.lora.targets import MOE_NAMES, PRESETS, resolve


@dataclass(frozen=True, slots=True)
class Switch:
    """One module of the block, or all experts of a layer together.

    label: its name, as short as it can be without doubt
    names: what to write in `target_modules` for it; empty where no module name reaches it
    place: "embedding", "attention", "mlp" or "head"
    shape: out × in of its matrix, as text
    """

    label: str
    names: tuple[str, ...]
    place: str
    shape: str


def switches(model: Architecture) -> tuple[Switch, ...]:
    """The block from bottom to top."""
    modules = list(dict.fromkeys(weight for weight in model.weights if weight.kind != "parameter"))
    leaves = Counter(module.rpartition(".")[2] for module in {weight.module for weight in modules})
    found = []
    for weight in modules:
        path = weight.module.split(".")
        label = path[-1] if leaves[path[-1]] == 1 else ".".join(path[-2:])
        inputs, outputs = weight.features
        found.append(Switch(label, (label,), _place(model, weight.module), f"{outputs:,} × {inputs:,}"))
    stacked = [weight for weight in model.weights if len(weight.shape) == 3 and weight.kind == "parameter"]
    if stacked:
        names = tuple(name for name in MOE_NAMES.get(model.moe_names, {}) if name != "gate")
        found.append(Switch("experts", names, "mlp", f"{stacked[0].shape[0]} experts"))
    if model.moe_names:
        found.append(Switch("router", ("gate",), "mlp", f"{model.dimensions.experts} scores"))
    order = ("embedding", "attention", "mlp", "head")
    return tuple(sorted(found, key=lambda switch: order.index(switch.place)))


def switched_on(model: Architecture, targets: str) -> tuple[bool, ...]:
    """For each switch, whether `targets` adapts it. Raises InputError as `resolve` does."""
    adapted = {target.weight.name for target in resolve(model, targets).targets}
    return tuple(_weights(model, switch) <= adapted and bool(_weights(model, switch)) for switch in switches(model))


def toggle(model: Architecture, targets: str, index: int) -> str:
    """`targets` after a press on switch `index`: a preset where one means the same, else module names.

    Raises InputError when nothing would be left, or for a module that no name reaches.
    """
    known = switches(model)
    if not 0 <= index < len(known):
        return targets
    pressed = known[index]
    if not pressed.names:
        raise InputError(
            f"{pressed.label} of this model are stacked parameters that no module name reaches",
            "targets",
            "Use the mlp preset, which adapts them through target_parameters.",
        )
    on = [state != (position == index) for position, state in enumerate(switched_on(model, targets))]
    names = [name for switch, state in zip(known, on, strict=True) if state for name in switch.names]
    if not names:
        raise InputError("one module at least has to stay on", "targets", "Switch another on first.")
    chosen = ",".join(names)
    wanted = {target.weight.name for target in resolve(model, chosen).targets}
    for preset in PRESETS:
        if {target.weight.name for target in resolve(model, preset).targets} == wanted:
            return preset
    return chosen


def _weights(model: Architecture, switch: Switch) -> set[str]:
    """Names of the weights behind a switch."""
    if not switch.names:
        return {weight.name for weight in model.weights if len(weight.shape) == 3}
    return {target.weight.name for target in resolve(model, ",".join(switch.names)).targets}


def _place(model: Architecture, module: str) -> str:
    if module == model.head:
        return "head"
    if "{}" not in module:
        return "embedding"
    return "attention" if "attn" in module or "attention" in module else "mlp"
