"""Which device, how many threads, which dtype, how many bytes. Decided once, by measurement where it matters.

The figures behind each choice are in docs/decisions.md.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InputError
from pipelines.models import zero_gpu

if TYPE_CHECKING:
    import torch

GIB = 2**30
MEMORY_SHARE = 0.6  # of what is free when the studio starts; the rest is for caches, training and the page
FLOAT32_PARAMETERS = 300_000_000  # a model up to this size runs in float32 on any CPU

_libraries = threading.Lock()
if hasattr(os, "register_at_fork"):  # a fork copies the lock, but not the thread that holds it
    os.register_at_fork(after_in_child=_libraries._at_fork_reinit)  # type: ignore[attr-defined]
_loaded = False


def load_libraries() -> None:
    """Import torch, transformers and PEFT, once, and set torch's threads.

    Every function that needs them calls this first: a first import from two threads at once can leave one of
    them with half a module.
    """
    global _loaded
    with _libraries:
        if _loaded:
            return
        # It warns of a kernel for 4-bit weights that it looks for on the Hub; nothing here needs it.
        logging.getLogger("bitsandbytes").setLevel(logging.CRITICAL)
        import peft  # noqa: F401
        import torch
        import transformers
        from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401

        transformers.utils.logging.disable_progress_bar()
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(default_threads())
        _loaded = True


def libraries_loaded() -> bool:
    """Whether the first import is done."""
    return _loaded


def default_threads() -> int:
    """Half the cores this process may use: the other half is for the page and a fine-tuning worker."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // 2)


def choose_device(requested: str) -> str:
    """`auto` → cuda, mps or cpu. Raises InputError for a device that this machine lacks."""
    import torch

    if requested in ("auto", "cuda") and zero_gpu.holds_none():
        return "cpu"
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if requested == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if available[name])
    if not available.get(requested, False):
        usable = ", ".join(name for name, usable in available.items() if usable)
        raise InputError(f"'{requested}' is not available on this machine", "device", f"Use one of: auto, {usable}.")
    return requested


def choose_dtype(device: str, parameters: int) -> torch.dtype:
    """The dtype that a model of so many parameters runs in."""
    import torch

    if device == "cpu":
        return torch.float32 if _in_float32(parameters) else torch.bfloat16
    if device == "cuda" and not torch.cuda.is_bf16_supported():
        return torch.float16
    return torch.bfloat16


def weight_bytes(parameters: int, device: str, quant: str = "") -> int:
    """Bytes of so many parameters by the same rule, without torch; no device yet counts as a CPU.

    quant: `nf4` or `int8`: what they take at least, were all of them in linear layers
    """
    if quant:
        return parameters // 2 if quant == "nf4" else parameters
    return parameters * number_bytes(parameters, device)


def number_bytes(parameters: int, device: str) -> int:
    """Bytes of one weight of a model of so many parameters."""
    return 4 if device in ("", "cpu", "auto") and _in_float32(parameters) else 2


def _in_float32(parameters: int) -> bool:
    """Small models on any CPU: their logits then hardly depend on the batch they are computed in. Large ones where the
    CPU would have to emulate bfloat16."""
    return parameters <= FLOAT32_PARAMETERS or not computes_in_bf16("cpu")


@functools.cache
def computes_in_bf16(device: str) -> bool:
    """Whether `device` multiplies bf16 faster than float32: a CPU needs units for it (AVX512-BF16, AMX, Arm's BF16).

    Without them it is emulated: on an AVX2 processor a matrix product in bf16 took 12 to 60 times that in float32.
    """
    if device != "cpu":
        return True
    with contextlib.suppress(OSError):
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
        return not flags.isdisjoint(("avx512_bf16", "amx_bf16", "bf16"))
    return False  # macOS and Windows say nothing; float32 is never the slow one


def default_budget(device: str) -> int:
    """Bytes that loaded models may take when nobody said: a share of what is free now."""
    return int(free_memory(device) * MEMORY_SHARE)


def free_memory(device: str) -> int:
    """Bytes that are free on `device` now; of a CPU, those of the machine or of its container."""
    if device == "cuda":
        import torch

        free, _total = torch.cuda.mem_get_info()
        return free
    return int(min(_free_memory(), _container_limit()))


def _free_memory() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 8 * GIB  # a machine that says nothing; --memory-budget says it


def _container_limit() -> float:
    """The memory limit of a container, which /proc/meminfo does not know."""
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(file).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            return int(text)
    return float("inf")
