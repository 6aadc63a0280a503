"""What a worker measures of its machine and of itself, so that a run can be predicted before it starts.

The machine: seconds of real LoRA steps of the embedded base, and the speed of plain matrix products, which carries over
to models of other widths. Itself: resident bytes, of which the imports are the larger part of a small run on a CPU.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.finetune.arguments import lora_arguments
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.files import write_atomically
from pipelines.models.device import choose_device
from pipelines.stages import ASSETS

_FILE = ".machine.json"
_BASE = ASSETS / "models" / "pocket-base"
# (sequences, tokens each) of the two training steps: by the first mostly calls are timed, by the second arithmetic.
SMALL, LARGE = (1, 16), (16, 48)
ANSWERED, NEW_TOKENS = 64, 12
WIDTHS = (256, 576, 1024, 2048)  # of the matrix products
PRODUCT_TOKENS = 128
REPEATS = 3  # the quickest counts: whatever else the machine does only makes a step slower
LONG = 0.2  # seconds; what takes longer is not repeated, nor tried at a greater width


@dataclass(frozen=True, slots=True)
class Machine:
    """What was measured, on which machine.

    baseline:   resident bytes of a worker with its imports done
    small, large: seconds of one training step of the embedded base with SMALL and LARGE
    answering:  seconds of NEW_TOKENS greedy tokens for ANSWERED prompts
    products:   "float32" and "bfloat16" → FLOP/s of matrix products of WIDTHS, on all cores. There may be fewer of
                bfloat16: a CPU without units for it is a hundred times slower (0.5 GFLOP/s were seen, beside 27)
    """

    device: str
    host: str
    cores: int
    versions: str
    baseline: int
    small: float
    large: float
    answering: float
    products: dict[str, list[float]]

    @property
    def here(self) -> bool:
        """Whether it was measured on this machine, as it is now."""
        return (self.host, self.cores) == (socket.gethostname(), cores())


def read_machine(runs_dir: Path) -> Machine | None:
    """What an earlier worker measured on this machine, if one did."""
    try:
        machine = Machine(**json.loads((runs_dir / _FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return machine if machine.here else None


def write_machine(runs_dir: Path, machine: Machine) -> None:
    runs_dir.mkdir(parents=True, exist_ok=True)
    write_atomically(runs_dir / _FILE, json.dumps(asdict(machine)))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resident_bytes() -> int:
    """Of this process now; 0 where the system does not say."""
    return _of_status("VmRSS")


def peak_resident_bytes() -> int:
    """The most that this process held since `forget_peak`, or since it began.

    Not `getrusage` on Linux: its figure survives `exec`, so a small worker of a large studio has the studio's.
    """
    found = _of_status("VmHWM")
    if found or sys.platform.startswith("linux"):
        return found
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes


def peak_bytes(device: str) -> int:
    """The most that this process held: what PyTorch's allocator reserved on a GPU, else resident memory."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_reserved()
    return peak_resident_bytes()


def forget_peak() -> None:
    """Begin a new peak, where the system can (Linux: proc(5), clear_refs)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _of_status(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def measure_machine(requested: str, use_threads: Callable[[int], None]) -> Machine:
    """About two seconds of work. `use_threads`: sets torch's threads for a model of so many parameters."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    from pipelines.finetune.config import SMALL_MODEL

    device = choose_device(requested)
    baseline = resident_bytes()
    model = AutoModelForCausalLM.from_pretrained(_BASE, dtype=torch.float32).to(device)
    parameters = model.num_parameters()
    config = FinetuneConfig().resolved(parameters, 1_000, 512)
    from peft import LoraConfig

    model = get_peft_model(model, LoraConfig(**lora_arguments(config)))
    use_threads(parameters)
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=0.0)
    small, large = (_step_seconds(model, optimizer, shape, device) for shape in (SMALL, LARGE))
    answering = _answering_seconds(model, device)
    use_threads(SMALL_MODEL)
    products = {name: _product_speeds(name, device) for name in ("float32", "bfloat16")}
    return Machine(
        device, socket.gethostname(), cores(), torch.__version__, baseline, small, large, answering, products
    )


def _step_seconds(model: Any, optimizer: Any, shape: tuple[int, int], device: str) -> float:
    import torch

    ids = torch.arange(shape[0] * shape[1], device=device).reshape(shape) % 4000
    model.train()

    def step() -> None:
        model(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_([one for one in model.parameters() if one.requires_grad], 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return _quickest(step, device)


def _answering_seconds(model: Any, device: str) -> float:
    import torch

    ids = torch.full((ANSWERED, 16), 40, device=device)
    model.eval()

    def answer() -> None:
        with torch.no_grad():
            model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=NEW_TOKENS,
                min_new_tokens=NEW_TOKENS,
                do_sample=False,
                pad_token_id=0,
            )

    return _quickest(answer, device)


def _product_speeds(dtype: str, device: str) -> list[float]:
    """FLOP/s at each of WIDTHS, as far as they are quick."""
    import torch

    speeds: list[float] = []
    for width in WIDTHS:
        left = torch.ones(PRODUCT_TOKENS, width, dtype=getattr(torch, dtype), device=device)
        right = torch.ones(width, width, dtype=getattr(torch, dtype), device=device)
        seconds = _quickest(partial(torch.matmul, left, right), device)
        speeds.append(2 * PRODUCT_TOKENS * width * width / seconds)
        if seconds > LONG / 8:  # the next width has four times the work or so, on slower memory
            break
    return speeds


def _quickest(work: Callable[[], Any], device: str) -> float:
    """Seconds of the quickest of REPEATS, after one that is not timed."""
    import torch

    def finish() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    times: list[float] = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        work()
        finish()
        times.append(time.perf_counter() - began)
        if times[-1] > LONG and len(times) > 1:
            break
    return max(min(times[1:]), 1e-9)
