"""Stage 6: LoRA over a base in NF4 against LoRA over the same base in bf16, with their bytes; and NF4 itself.

Both arms take the same rows, steps and rate, twice with rows and questions of their own. Bytes are those of the tensors
that are there. The error of NF4 is compared with FP4's and INT4's on the model's own weights and on normal ones, and
with a code that Lloyd's algorithm fits to normal weights: whether NF4 is optimal is measured, not repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.experiments.arms import run_arms
from pipelines.experiments.bench import Bench, Recipe
from pipelines.experiments.records import Arm, Claim, Outcome, Progress, exactly
from pipelines.experiments.statistics import difference, share_arm
from pipelines.memory.nf4 import TYPES, blocks, nearest_level
from pipelines.models.device import computes_in_bf16

REPETITIONS = 2
FACTS = 100
STEPS = 40
RATE = 5e-3
NORMAL = 2**18  # normal weights that the codes are compared on
_LEARNED, _MARGIN, _QUARTER = 0.5, 0.05, 0.3

CLAIM = Claim(
    stage="qlora",
    claim="A base in 4 bits, with LoRA beside it, learns as well as one in 16 bits, in a quarter of the weight memory.",
    source="The chapter, section 6; Dettmers et al. 2023, who match 16-bit fine-tuning up to 65B",
    claimed="same accuracy, 4 bits in place of 16",
    hypothesis=(
        "After equal steps on equal rows, the base in NF4 answers as many held-out questions as the base in bf16, and "
        "its linear layers take about a quarter of the bytes."
    ),
    rule=(
        f"Holds if both answer at least {100 * _LEARNED:.0f} points more than the untrained base, if NF4 is at most "
        f"{100 * _MARGIN:.0f} points behind, each with its whole 95 % interval, if its linear layers, with constants, "
        f"take at most {_QUARTER:.0%} of the bytes, and if NF4 loses less on the model’s own weights than FP4 and INT4."
    ),
    budget=60.0,
)

_IN_FLOAT32 = (
    "This CPU has no units for bf16: once their bytes were counted, both bases computed in float32, with the values "
    "that 16 and 4 bits had left them."
)


@dataclass(frozen=True, slots=True)
class Found:
    """Of one arm: answers, and bytes of the linear layers, of the whole model, and of the peak above it in training."""

    right: list[bool]
    linear: int = 0
    total: int = 0
    peak: int = 0


def measure(bench: Bench) -> Generator[Progress, None, Outcome]:
    """Train both arms, then compare the codes."""
    tasks: dict[str, Callable[[Bench], Found]] = {}
    for number in range(REPETITIONS):
        for arm in ("nf4", "bf16", "before"):
            tasks[f"{arm} {number}"] = _trained(number, arm)

    def of(done: Mapping[str, Found], arm: str) -> list[bool]:
        return [value for key, found in done.items() if key.startswith(arm) for value in found.right]

    def drawn(done: Mapping[str, Found]) -> tuple[Arm, ...]:
        names = {"before": "before training", "bf16": "bf16 base + LoRA", "nf4": "NF4 base + LoRA"}
        return tuple(share_arm(name, of(done, arm)) for arm, name in names.items() if of(done, arm))

    done = yield from run_arms(
        bench, tasks, steps=2 * REPETITIONS * STEPS, says="training over both bases", drawn=drawn, span=(0.0, 0.95)
    )
    yield Progress(0.95, "comparing the 4-bit codes", drawn(done))
    four, sixteen, before = of(done, "nf4"), of(done, "bf16"), of(done, "before")
    small, large = done["nf4 0"], done["bf16 0"]
    own, normal = errors(own_weights(bench.model("base"))), errors(normal_weights(bench.seed))
    return Outcome(
        measured=(
            f"NF4 {sum(four) / len(four):.0%}, bf16 {sum(sixteen) / len(sixteen):.0%}; linear layers in "
            f"{small.linear / large.linear:.0%} of the bytes, the whole model in {small.total / large.total:.0%}"
        ),
        arms=drawn(done),
        conditions=(
            difference("NF4 learned", four, before, "at least", _LEARNED),
            difference("bf16 learned", sixteen, before, "at least", _LEARNED),
            difference("NF4 minus bf16", four, sixteen, "at least", -_MARGIN),
            exactly("bytes of the linear layers, NF4 over bf16", small.linear / large.linear, "at most", _QUARTER),
            exactly("NF4’s error over FP4’s, own weights", own["nf4"] / own["fp4"], "at most", 0.999),
            exactly("NF4’s error over INT4’s, own weights", own["nf4"] / own["int4"], "at most", 0.999),
        ),
        figures=(
            ("bytes of the base, bf16 and NF4", f"{large.total:,} and {small.total:,}"),
            ("peak above it while training, bf16 and NF4", f"{_mib(large.peak)} and {_mib(small.peak)} MiB"),
            ("error on own weights, NF4 · FP4 · INT4", " · ".join(f"{own[name]:.2%}" for name in TYPES)),
            ("error on normal weights, NF4 · FP4 · INT4", " · ".join(f"{normal[name]:.2%}" for name in TYPES)),
            ("a code fitted to normal weights", f"{normal['fitted']:.2%}"),
        ),
        remarks=(
            "NF4 is not the code with the least error on normal weights in blocks of 64: one that is fitted to them "
            "loses less (Yoshida 2023 shows the same). It is better than FP4 and INT4.",
            "The embeddings stay in 16 bits. In this small model they are a quarter of the weights, so the whole "
            "shrinks less than a large one would. Activations decide the peak here, not weights.",
            *(() if computes_in_bf16("cpu") else (_IN_FLOAT32,)),
        ),
    )


def _mib(count: int) -> str:
    return f"{count / 2**20:.0f}"


def _trained(number: int, arm: str) -> Callable[[Bench], Found]:
    def task(bench: Bench) -> Found:
        bench = bench.again(number)
        probes = bench.questions(bench.heldout(FACTS))
        if arm == "before":
            return Found(bench.right(bench.model("base"), probes))
        rows = [bench.example(talk) for talk in bench.conversations(bench.taught(STEPS * 16))]
        model = bench.quantized("base") if arm == "nf4" else bench.model("base", "bfloat16")
        linear, total = weight_bytes(model)
        model = bench.computable(model)
        resident = _reset_peak()
        model = bench.train(model, rows, Recipe(RATE, STEPS))
        peak = _peak() - resident
        return Found(bench.right(model, probes), linear, total, peak)

    return task


def weight_bytes(model: Any) -> tuple[int, int]:
    """(bytes of the linear layers but the output head, bytes of all weights), with the constants of quantization.

    Every tensor that is there counts once, a tied one too.
    """
    head = model.get_output_embeddings()
    linear, total, seen = 0, 0, set()
    for module in model.modules():
        for weight in module.parameters(recurse=False):
            if weight.data_ptr() in seen:
                continue
            seen.add(weight.data_ptr())
            size = weight.numel() * weight.element_size() + _constants(getattr(weight, "quant_state", None))
            total += size
            if module is not head and "Linear" in type(module).__name__:
                linear += size
    return linear, total


def _constants(state: Any) -> int:
    """Bytes of a bitsandbytes `QuantState`: scales, their own scales and offset, and the tables of levels."""
    if state is None:
        return 0
    tensors = [state.absmax, state.code, state.offset]
    own = sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor is not None)
    return own + _constants(state.state2 if state.nested else None) if hasattr(state, "nested") else own


def _reset_peak() -> int:
    """Forget the largest resident memory of this process so far; returns the present one, in bytes. 0 off Linux."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        return 0
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))
    except (OSError, StopIteration):
        return 0


def own_weights(model: Any) -> NDArray[np.float32]:
    """The matrices inside the layers, one after the other."""
    found = [
        weight.detach().float().numpy().reshape(-1)
        for name, weight in model.named_parameters()
        if _inside(name, weight)
    ]
    return np.concatenate(found)


def _inside(name: str, weight: Any) -> bool:
    return weight.dim() == 2 and ".layers." in name


def normal_weights(seed: int) -> NDArray[np.float32]:
    """Independent normal weights."""
    return np.random.default_rng(seed).standard_normal(NORMAL).astype(np.float32)


def errors(values: NDArray[np.float32]) -> dict[str, float]:
    """Norm of the error over norm of the weights for each 4-bit type, in blocks of 64; `fitted`: for Lloyd's code."""
    cut, scale = blocks(values)
    codes = {name: np.array(levels(), dtype=np.float32) for name, levels in TYPES.items()}
    codes["fitted"] = lloyd(cut, scale, codes["nf4"])
    return {
        name: float(np.linalg.norm((code[nearest_level(cut, code)] - cut) * scale[:, None]) / np.linalg.norm(values))
        for name, code in codes.items()
    }


def lloyd(cut: NDArray[np.float32], scale: NDArray[np.float32], start: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sixteen levels with less squared error (Lloyd 1982), from `start`; each value counts by its block's scale."""
    code = start.copy()
    weight = np.broadcast_to(scale[:, None] ** 2, cut.shape).reshape(-1)
    flat = cut.reshape(-1)
    for _ in range(12):
        level = nearest_level(flat, code)
        total = np.bincount(level, weight, len(code))
        sums = np.bincount(level, weight * flat, len(code))
        code = np.where(total > 0, sums / np.maximum(total, 1e-12), code).astype(np.float32)
    return code
