"""The `/memory` endpoint: an estimate as JSON."""

from __future__ import annotations

from typing import Any

from pipelines.errors import InputError
from pipelines.memory.estimate import MOMENTS, estimate
from pipelines.memory.gpus import fits
from pipelines.memory.setup import MemorySetup


def memory_record(
    model: str,
    method: str = "qlora",
    optimizer: str = "adamw",
    dtype: str = "bf16",
    quant: str = "nf4",
    double_quant: bool = True,
    r: int = 16,
    targets: str = "all-linear",
    batch: int = 1,
    seq_len: int = 2048,
    gradient_checkpointing: bool = True,
    attention: str = "sdpa",
    gpus: int = 1,
    sharding: str = "none",
    loss: str = "full",
    master_weights: str = "auto",
) -> dict[str, Any]:
    """Bytes of one GPU at the peak: each term, `total`, the GPUs it `fits`, the moment, and each term's
    formula.

    Beyond the contract: `loss` (full, chunked, fused) and `master_weights` (auto, yes, no). Raises
        InputError.
    """
    setup = MemorySetup(
        model=model,
        method=method,
        optimizer=optimizer,
        dtype=dtype,
        quant=quant,
        double_quant=bool(double_quant),
        r=_whole(r, "r"),
        targets=targets,
        batch=_whole(batch, "batch"),
        seq_len=_whole(seq_len, "seq_len"),
        gradient_checkpointing=bool(gradient_checkpointing),
        attention=attention,
        gpus=_whole(gpus, "gpus"),
        sharding=sharding,
        loss=loss,
        master=master_weights,
        accumulation=1 if method == "full" else 2,
    )
    result = estimate(setup)
    return {
        **{term.key: term.size for term in result.terms},
        "total": result.total,
        "fits": [
            {
                "gpu": fit.gpu.title,
                "gib": fit.gpu.gib,
                "usd_per_hour": fit.gpu.usd_per_hour,
                "fits": fit.fits,
                "count": fit.count,
            }
            for fit in fits(result)
        ],
        "trainable": result.trainable,
        "moment": MOMENTS[result.moment],
        "formulas": {term.key: term.formula for term in result.terms},
    }


def _whole(value: object, field: str) -> int:
    """JSON has one kind of number: 16.0 is a whole one."""
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole:
        raise InputError(f"{value!r} is not a whole number", field, "Use a whole number such as 16.")
    return int(value)  # type: ignore[call-overload, no-any-return]
