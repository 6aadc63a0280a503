"""The lean pass against transformers' own, family by family, in one piece, in pieces, and side by side."""

from __future__ import annotations

import pytest

from pipelines.models.engine.adapters import AdapterMix, Stacks, pack
from pipelines.models.engine.attention import ManyTokens, NextTokens
from pipelines.models.engine.lean import lean_model
from pipelines.models.engine.slabs import CacheShape, Slab, capacity_of

SMALL = {
    "vocab_size": 200,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "initializer_range": 0.2,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


def build(family, **options):
    import torch
    import transformers

    torch.manual_seed(1)
    config = getattr(transformers, f"{family}Config")(**SMALL | options)
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        if name.endswith(("bias", "norm.weight")):  # as they are initialised, a mistake with them would not show
            weight.data.add_(torch.randn_like(weight) * 0.3)
    return model


FAMILIES = {
    "llama": lambda: build("Llama", tie_word_embeddings=True),
    "llama, biases, llama3 angles": lambda: build(
        "Llama", attention_bias=True, mlp_bias=True, tie_word_embeddings=False, rope_parameters=LLAMA3_ROPE
    ),
    "mistral": lambda: build("Mistral", sliding_window=None, head_dim=16),
    "qwen2": lambda: build("Qwen2", num_key_value_heads=6),
    "qwen3": lambda: build("Qwen3", head_dim=12),
}


def shape_of(lean):
    return CacheShape(lean.layers, lean.key_heads, lean.head_dim, lean.dtype, lean.device)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_transformers_and_the_model_keeps_its_own(family):
    import torch

    model = FAMILIES[family]()
    ids = torch.randint(0, 200, (70,), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = model(input_ids=ids[None]).logits[0]
        lean = lean_model(model)
        assert lean is not None
        assert (model(input_ids=ids[None]).logits[0] - expected).abs().max() < 1e-4
        slab = Slab(shape_of(lean), 128)
        slot, seen = slab.add(), []
        # A prompt in two pieces, then token by token.
        for begin, end in [(0, 40), (40, 65), *((at, at + 1) for at in range(65, 70))]:
            part = NextTokens(slab, 0, 1) if end - begin == 1 else ManyTokens(slab, slot, 0, end - begin)
            seen.append(lean.forward(ids[begin:end], torch.arange(begin, end), [part]))
            slab.lengths[slot] = end
    assert (torch.cat(seen) - expected).abs().max() < 1e-4


@pytest.mark.parametrize(
    "other",
    [
        lambda: build("Mistral", sliding_window=8),
        lambda: build("Gemma2", head_dim=8, query_pre_attn_scalar=8),
        lambda: build("Llama", hidden_act="gelu"),
        lambda: build("Llama", rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}),
        lambda: build("Qwen2", use_sliding_window=True, sliding_window=8, max_window_layers=1),
    ],
    ids=["sliding window", "another family", "another activation", "angles by length", "some layers with a window"],
)
def test_a_model_that_it_would_compute_otherwise_is_left_to_transformers(other):
    assert lean_model(other()) is None


def test_rows_of_several_slabs_and_a_prompt_share_a_pass():
    import torch

    model = FAMILIES["llama"]()
    ids = torch.randint(0, 200, (300,), generator=torch.Generator().manual_seed(3))
    starts = {0: 5, 1: 60, 2: 20}  # the first and the third row share a slab, the second has a longer one
    with torch.inference_mode():
        expected = [model(input_ids=ids[None, row : row + length + 1]).logits[0, -1] for row, length in starts.items()]
        prompt = model(input_ids=ids[None, 100:130]).logits[0, -1]
        lean = lean_model(model)
        short, long = Slab(shape_of(lean), 64), Slab(shape_of(lean), 128)
        for slab, row in ((short, 0), (short, 2), (long, 1)):
            slot, length = slab.add(), starts[row]
            lean.forward(ids[row : row + length], torch.arange(length), [ManyTokens(slab, slot, 0, length)])
            slab.lengths[slot] = length
        last = long.add()
        parts = [NextTokens(short, 0, 2), NextTokens(long, 2, 1), ManyTokens(long, last, 3, 30)]
        tokens = torch.cat([ids[[5, 22, 61]], ids[100:130]])
        positions = torch.tensor([5, 20, 60, *range(30)])
        logits = lean.forward(tokens, positions, parts, torch.tensor([0, 1, 2, 32]))
    for seen, wanted in zip(logits, [expected[0], expected[2], expected[1], prompt], strict=True):
        assert (seen - wanted).abs().max() < 1e-4


def test_adapters_add_what_peft_adds_and_leave_other_tokens_alone():
    import torch
    from peft import LoraConfig, get_peft_model

    model = FAMILIES["llama"]()
    lean = lean_model(model)
    options = {"init_lora_weights": False, "task_type": "CAUSAL_LM"}
    torch.manual_seed(5)
    wrapped = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", **options), adapter_name="one")
    wrapped.add_adapter("two", LoraConfig(r=2, lora_alpha=3, target_modules=["v_proj", "down_proj"], **options))
    wrapped.add_adapter("head", LoraConfig(r=2, target_modules=["lm_head"], **options))
    packed = {name: pack(lean, model, name) for name in ("one", "two")}
    assert pack(lean, model, "head") is None
    ids = torch.arange(10, 17)
    with torch.inference_mode():
        wanted = {}
        for name in packed:
            wrapped.base_model.set_adapter(name, inference_mode=True)
            wanted[name] = model(input_ids=ids[None]).logits[0]
        wrapped.base_model.disable_adapter_layers()

        def together(owners):
            slab, stacks = Slab(shape_of(lean), 64), Stacks(lean.device)
            parts = [ManyTokens(slab, slab.add(), row * 7, 7) for row in range(len(owners))]
            tokens = [packed.get(owner) for owner in owners for _ in range(7)]
            mix = AdapterMix(tokens, stacks) if any(tokens) else None
            return lean.forward(ids.repeat(len(owners)), torch.arange(7).repeat(len(owners)), parts, None, mix)

        plain = together([None] * 4)
        for owners in (["one"] * 4, ["one", None, "one", None], ["two", "one", None, "two"], [None, "two", None, None]):
            seen = together(owners)
            for row, owner in enumerate(owners):
                tokens = slice(row * 7, row * 7 + 7)
                if owner is None:
                    assert torch.equal(seen[tokens], plain[tokens])
                else:
                    assert (seen[tokens] - wanted[owner]).abs().max() < 1e-4


def test_a_slab_keeps_its_rows_while_it_grows_and_shrinks():
    import torch

    slab = Slab(CacheShape(2, 3, 4, torch.float32, torch.device("cpu")), 64)
    contents = {}
    for number in range(9):
        slot = slab.add(spare=number % 3)
        slab.lengths[slot] = 5 + number
        keys, _ = slab.heads(1, slot, 1, 5 + number)
        keys.copy_(torch.randn(keys.shape))
        contents[slot] = keys.clone()
    assert slab.bytes >= 9 * slab.row_bytes and slab.row_bytes == 64 * 2 * 2 * 3 * 4 * 4
    while len(contents) > 1:
        gone, last = min(contents), max(contents)
        if gone != last:
            slab.move(last, gone)
            contents[gone] = contents[last]
        slab.drop_last()
        del contents[last]
        for slot, wanted in contents.items():
            assert torch.equal(slab.heads(1, slot, 1, slab.lengths[slot])[0], wanted)
    assert slab.bytes <= 4 * slab.row_bytes
    slab.drop_last()
    assert slab.bytes == 0


def test_capacities_are_powers_of_two():
    assert [capacity_of(tokens) for tokens in (1, 64, 65, 128, 500, 512)] == [64, 64, 128, 128, 512, 512]
