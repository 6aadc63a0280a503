"""The engine beside `generate`: one person, and batches, on the same weights with the same tokens.

    python -m tests.benchmarks.decoding [--shapes pocket smollm2-135m] [--batches 1 8 32] [--tokens 64] [--device cpu]

Shapes other than the pocket pair have random weights. `generate` runs on a model of its own with torch's default
threads; the engine as in the studio. They take turns, three each, and the faster of each counts. On a GPU, add
`--device cuda --shapes smollm2-135m llama-3.1-8b --batches 1 8 64`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import ROOT

POCKET = ROOT / "assets" / "models" / "pocket-base"
PROMPT = 20  # tokens
SHAPES: dict[str, dict[str, Any]] = {
    "smollm2-135m": {
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "tie_word_embeddings": True,
        "max_position_embeddings": 2048,
    },
    "llama-3.1-8b": {
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 8192,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["pocket", "smollm2-135m"], choices=["pocket", *SHAPES])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    print("| shape | batch | engine, tokens/s | generate, tokens/s | ratio | same tokens |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        for shape in options.shapes:
            folder = POCKET if shape == "pocket" else _random(shape, Path(scratch) / shape)
            for row in _rows(shape, folder, options.batches, options.tokens, options.device):
                print(row, flush=True)


def _random(shape: str, folder: Path) -> Path:
    """A model of that shape with random weights, and the pocket pair's tokenizer, which nobody asks anything."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPES[shape], bos_token_id=1, eos_token_id=2, pad_token_id=0))
    model.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(POCKET).save_pretrained(folder)
    return folder


def _rows(shape: str, folder: Path, batches: list[int], tokens: int, device: str) -> list[str]:
    import torch
    from transformers import AutoModelForCausalLM

    from pipelines.models import ModelManager
    from pipelines.models.engine import Request
    from pipelines.settings import Settings

    threads = torch.get_num_threads()  # before the manager takes half
    manager = ModelManager(Settings(pair=f"{folder},{folder}", device=device))
    with manager.lease("base") as lease:
        plain = AutoModelForCausalLM.from_pretrained(folder, dtype=lease.model.dtype).to(device).eval()
        plain.generation_config.eos_token_id = None  # neither stops before the last token
        generator = torch.Generator().manual_seed(1)

        def prompts(batch: int) -> torch.Tensor:
            return torch.randint(5, 4000, (batch, PROMPT), generator=generator)

        def by_engine(ids: torch.Tensor) -> list[list[int]]:
            asked = [(lease, Request(row, frozenset(), tokens)) for row in ids.tolist()]
            return [_read(ticket) for ticket in manager.engine.submit(asked)]

        def by_generate(ids: torch.Tensor) -> list[list[int]]:
            studio, _ = torch.get_num_threads(), torch.set_num_threads(threads)
            with torch.inference_mode():
                produced = plain.generate(
                    ids.to(device),
                    attention_mask=torch.ones_like(ids).to(device),
                    max_new_tokens=tokens,
                    do_sample=False,
                    pad_token_id=0,
                )
            torch.set_num_threads(studio)
            return produced[:, PROMPT:].tolist()

        rows = []
        for batch in batches:
            ids = prompts(batch)
            by_engine(ids[:1])
            by_generate(ids[:1])
            fastest, answers = _in_turn({"engine": partial(by_engine, ids), "generate": partial(by_generate, ids)})
            speeds = {name: batch * tokens / seconds for name, seconds in fastest.items()}
            same = sum(a == b for a, b in zip(answers["engine"], answers["generate"], strict=True))
            rows.append(
                f"| {shape} | {batch} | {speeds['engine']:,.0f} | {speeds['generate']:,.0f} | "
                f"{speeds['engine'] / speeds['generate']:.2f} | {same} of {batch} |"
            )
        return rows


def _in_turn(
    ways: dict[str, Callable[[], list[list[int]]]], rounds: int = 3
) -> tuple[dict[str, float], dict[str, list[list[int]]]]:
    """The least seconds of each way, and what it answered."""
    fastest = dict.fromkeys(ways, float("inf"))
    answers = {}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            answers[name] = way()
            fastest[name] = min(fastest[name], time.perf_counter() - began)
    return fastest, answers


def _read(ticket: Any) -> list[int]:
    ids = []
    while not ticket.done:
        ids += [token.id for token in ticket.take(1.0)]
    return ids


if __name__ == "__main__":
    main()
