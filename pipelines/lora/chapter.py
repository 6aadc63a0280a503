"""The chapter's figures about LoRA beside the exact ones, counted here and now."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.architecture import architecture
from pipelines.lora.counting import LoraSetup, count


@dataclass(frozen=True, slots=True)
class Claim:
    """`said`: what the chapter says; `exact`: what it is; `why`: why they differ, or that they do not."""

    said: str
    exact: str
    why: str


def lora_claims() -> tuple[Claim, ...]:
    """Every figure of the chapter on this subject."""
    square, r = 4096, 16
    whole, pair = square * square, 2 * square * r
    llama = architecture("llama-3-8b")

    def counted(targets: str, rank: int) -> str:
        result = count(llama, LoraSetup(r=rank, targets=targets))
        return f"{result.trainable:,} = {result.percent:.2f} %"

    return (
        Claim(
            "4096 × 4096: 16.7M parameters against 131K, 128× fewer",
            f"{whole:,} against 2 × {square:,} × {r} = {pair:,}: {whole // pair}× fewer",
            "Exact, for rank 16. The factor is the width over twice the rank, so it falls as the rank grows.",
        ),
        Claim(
            "LoRA r=16 on Llama 3 8B trains ~20M parameters = 0.25 %",
            f"q,v: {counted('q,v', r)} · q,k,v,o: {counted('q,k,v,o', r)} · all-linear: {counted('all-linear', r)}",
            f"No choice of modules gives 20M at r=16; all-linear at r=8 does ({counted('all-linear', 8)}). Keys and "
            "values are a quarter as wide in this model, which a count from square matrices misses.",
        ),
        Claim(
            "0.1 % of the parameters",
            f"q,v at r=16: {counted('q,v', r)}",
            "Right for queries and values alone, the paper's choice. all-linear trains six times that.",
        ),
        Claim(
            "The layer as listed starts as the original layer",
            "It does so only when B starts at zero; the listing draws both at random",
            "W + BA equals W at the first step only if B = 0 (Hu et al. 2021, section 4.1), which PEFT sees to. The "
            "paper writes ΔW = BA: B is out × r, A is r × in.",
        ),
    )
