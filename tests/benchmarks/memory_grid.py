"""Training memory, measured beside the estimate: `python -m tests.benchmarks.memory_grid [--csv FILE]`.

With a CUDA GPU: training steps of random-initialised models of real shapes over a grid of settings, with the peaks of
PyTorch's two counters. With --csv also as rows of assets/memory/measured.csv, to calibrate with or to test against.
Without a GPU: the bytes that autograd keeps of one layer, for layers of real widths, beside the activation term.
"""

from __future__ import annotations

import argparse
import csv
import gc
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pipelines.architecture import Architecture, architecture
from pipelines.architecture.catalogue import facts_of
from pipelines.architecture.extract import extract
from pipelines.lora import resolve
from pipelines.memory import MemorySetup, estimate
from pipelines.memory.activations import layer_bytes

STEPS = 3  # the optimizer's states exist from the second step on
ROOM = 0.9  # of the GPU: settings whose estimate takes more are left out
MODELS = ("smollm2-135m", "qwen2.5-0.5b", "llama-3.2-1b", "qwen2.5-1.5b", "llama-3.2-3b", "llama-3.1-8b")
SHAPES = ((1, 2_048), (4, 1_024), (8, 2_048))  # batch and tokens
METHODS = (("full", "adamw"), ("full", "adamw_8bit"), ("lora", "adamw"), ("qlora", "adamw"))
# On a CPU a layer is measured by itself, so its width may be real while vocabulary and tokens are few.
CPU_MODELS = ("smollm2-135m", "qwen2.5-0.5b", "llama-3.2-1b", "qwen3-0.6b", "gpt2")
CPU_TOKENS, CPU_VOCABULARY = 128, 512


@dataclass(frozen=True, slots=True)
class Peak:
    """Bytes of PyTorch's counters over the last of STEPS training steps."""

    allocated: int
    reserved: int


def grid(room: float) -> Iterator[MemorySetup]:
    """Every setting of the grid whose estimate fits into `room` bytes."""
    for model, (method, optimizer), (batch, seq_len), again in itertools.product(
        MODELS, METHODS, SHAPES, (True, False)
    ):
        setup = MemorySetup(
            model,
            method=method,
            optimizer=optimizer,
            batch=batch,
            seq_len=seq_len,
            gradient_checkpointing=again,
            adapter_bytes=4,  # PEFT's own, under autocast
        )
        if estimate(setup).total <= room:
            yield setup


def peak(setup: MemorySetup, device: str = "cuda") -> Peak:
    """Train a random-initialised model of this shape for STEPS steps, and read the counters of a CUDA device."""
    import torch

    torch.cuda.empty_cache()
    run = training(setup, device)
    for step in range(STEPS):
        if step == STEPS - 1:
            torch.cuda.reset_peak_memory_stats()
        next(run)
    found = Peak(torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved())
    run.close()
    gc.collect()
    return found


def training(setup: MemorySetup, device: str) -> Iterator[float]:
    """Training steps without end, as a generator that yields the loss and holds the model while it is alive."""
    import torch

    dtype = torch.bfloat16 if setup.dtype == "bf16" else torch.float32
    model = adapted(build(facts_of(setup.model)["config"], setup.attention, dtype), setup, device)
    model.train()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = _optimizer(trained, setup.optimizer)
    vocabulary = model.get_input_embeddings().num_embeddings
    while True:
        ids = torch.randint(0, vocabulary, (setup.batch, setup.seq_len), device=device)
        with torch.autocast(device.partition(":")[0], dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield float(loss.detach())


def build(config: dict[str, Any], attention: str, dtype: Any) -> Any:
    """A model of this configuration with random weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(**config), dtype=dtype, attn_implementation=attention)


def adapted(model: Any, setup: MemorySetup, device: str) -> Any:
    """The model on its device as the method has it: quantized where asked for, with an adapter and checkpointing."""
    import torch
    from bitsandbytes.nn import Linear4bit, Params4bit
    from peft import LoraConfig, get_peft_model

    if setup.quantized:
        for parent in list(model.modules()):
            for name, child in list(parent.named_children()):
                if not isinstance(child, torch.nn.Linear) or child is model.get_output_embeddings():
                    continue
                layer = Linear4bit(
                    child.in_features, child.out_features, child.bias is not None, compute_dtype=torch.bfloat16
                )
                layer.weight = Params4bit(
                    child.weight.data,
                    requires_grad=False,
                    quant_type=setup.quant,
                    compress_statistics=setup.double_quant,
                )
                layer.bias = child.bias
                setattr(parent, name, layer)
        model.is_loaded_in_4bit = True
    model.to(device)
    if setup.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if setup.method == "full":
        return model
    names = list(resolve(architecture(setup.model), setup.targets).names)
    targets: Any = "all-linear" if names == ["all-linear"] else names
    return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=setup.r, target_modules=targets))


def _optimizer(weights: list[Any], name: str) -> Any:
    import torch

    if name == "adamw_8bit":
        from bitsandbytes.optim import AdamW8bit

        return AdamW8bit(weights, lr=1e-5)
    return torch.optim.AdamW(weights, lr=1e-5)


def saved_bytes(config: dict[str, Any], method: str, attention: str, r: int, batch: int, seq_len: int) -> int:
    """Bytes of the distinct storages that autograd keeps in one forward pass under bf16 autocast, on the CPU,
    without parameters.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    model = build(config, attention, torch.bfloat16)
    if method == "lora":
        adapter = LoraConfig(task_type="CAUSAL_LM", r=r, target_modules="all-linear")
        model = get_peft_model(model, adapter).base_model.model
    model.train()
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}
    alive = []  # storages are told apart by address, so none may be freed meanwhile

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        alive.append(tensor)
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    ids = torch.randint(0, config["vocab_size"], (batch, seq_len))
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", dtype=torch.bfloat16):
        model.base_model(input_ids=ids, use_cache=False)
    return sum(kept.values())


def adapter_cast_bytes(model: Architecture, r: int) -> int:
    """Autocast keeps a bf16 copy of each layer's A and B, which are parameters' copies and no activations."""
    return sum(
        2 * r * target.rank_factor * target.weight.experts * sum(target.weight.features)
        for target in resolve(model, "all-linear").targets
        if "{}" in target.weight.name
    )


def layer_kept(
    config: dict[str, Any], method: str, attention: str, r: int, batch: int, seq_len: int
) -> tuple[int, float]:
    """(measured, counted) bytes that one layer of a model of this configuration keeps: two layers against one."""
    depth = "n_layer" if "n_layer" in config else "num_hidden_layers"
    two, one = (saved_bytes(config | {depth: layers}, method, attention, r, batch, seq_len) for layers in (2, 1))
    model = extract({"key": "", "title": "", "source": "", "hub_id": ""}, config | {depth: 2})
    measured = two - one - (adapter_cast_bytes(model, r) if method == "lora" else 0)
    setup = MemorySetup("", method=method, r=r, batch=batch, seq_len=seq_len, attention=attention)
    counted = layer_bytes(model, setup, None if method == "full" else resolve(model, "all-linear"))
    return measured, counted.total(setup.tokens)


def _on_a_gpu(target: Path | None) -> None:
    import torch

    room = torch.cuda.get_device_properties(0).total_memory
    name = torch.cuda.get_device_name(0)
    print("| setting | allocated | estimated | error | reserved | estimated | error |\n" + "| --- " * 7 + "|")
    rows = []
    for setup in grid(ROOM * room):
        found, result = peak(setup), estimate(setup)
        seen = result.total - result.unseen
        errors = [(seen - result.fragmentation, found.allocated), (seen, found.reserved)]
        cells = " | ".join(f"{real / 2**30:.2f} | {said / 2**30:.2f} | {said / real - 1:+.1%}" for said, real in errors)
        print(f"| {_words(setup)} | {cells} |", flush=True)
        values = {field.name: getattr(setup, field.name) for field in fields(setup)}
        about = {"role": "test", "gpu_gib": room / 2**30, "note": name, "source": "tests/benchmarks/memory_grid.py"}
        for measure in ("allocated", "reserved"):
            own = {"id": f"{_words(setup)} {measure}", "measure": measure, "measured_bytes": getattr(found, measure)}
            rows.append(own | about | values)
    if target:
        with target.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def _on_a_cpu() -> None:
    print(f"| one layer, {CPU_TOKENS} tokens | autograd keeps | counted | error |\n" + "| --- " * 4 + "|")
    for key, attention, method in itertools.product(CPU_MODELS, ("sdpa", "eager"), ("full", "lora")):
        config = facts_of(key)["config"] | {"vocab_size": CPU_VOCABULARY}
        config |= {name: 0 for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
        # Dropout, which GPT-2 alone has by default, keeps masks that the term leaves out.
        config |= {name: 0 for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop")} if key == "gpt2" else {}
        measured, counted = layer_kept(config, method, attention, 16, 1, CPU_TOKENS)
        print(f"| {key}, {method}, {attention} | {measured:,} | {counted:,.0f} | {counted / measured - 1:+.2%} |")


def _words(setup: MemorySetup) -> str:
    again = "checkpointing" if setup.gradient_checkpointing else "no checkpointing"
    return f"{setup.model} {setup.method} {setup.optimizer} {setup.batch} × {setup.seq_len} {again}"


def main() -> None:
    import torch

    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("--csv", type=Path, help="also write the rows of a GPU as CSV")
    options = asked.parse_args()
    print(f"torch {torch.__version__}\n")
    if torch.cuda.is_available():
        _on_a_gpu(options.csv)
    else:
        _on_a_cpu()


if __name__ == "__main__":
    main()
