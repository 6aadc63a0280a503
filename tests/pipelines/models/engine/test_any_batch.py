"""Models that the lean pass leaves to transformers: batched all the same, each request as alone."""

from __future__ import annotations

import random

import pytest

from pipelines.decoding import stream
from pipelines.models import ModelManager
from pipelines.models.engine import Request
from tests.conftest import TinyPair, write_adapter

NONE: frozenset[int] = frozenset()
SMALL = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "head_dim": 8,
    "initializer_range": 0.2,
}
FAMILIES = {
    "gpt2": ("GPT2", {"vocab_size": 400, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128}),
    "gemma2": ("Gemma2", SMALL | {"sliding_window": 16, "query_pre_attn_scalar": 8}),
    "gemma3": ("Gemma3Text", SMALL | {"sliding_window": 16, "query_pre_attn_scalar": 8}),
    "olmo2": ("Olmo2", {key: value for key, value in SMALL.items() if key != "head_dim"}),
    "mistral with a window": ("Mistral", SMALL | {"sliding_window": 16}),
    "mamba": ("Mamba", {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}),
}


@pytest.fixture(params=FAMILIES)
def studio(request, tiny_tokenizer, tmp_path):
    import torch
    import transformers

    family, options = FAMILIES[request.param]
    name = {"GPT2": "GPT2LMHeadModel", "Gemma3Text": "Gemma3ForCausalLM"}.get(family, f"{family}ForCausalLM")
    folders = []
    for seed, folder in enumerate(("a", "b")):
        torch.manual_seed(seed)
        config = getattr(transformers, f"{family}Config")(**options, bos_token_id=0, eos_token_id=1, pad_token_id=2)
        getattr(transformers, name)(config).save_pretrained(tmp_path / folder)
        tiny_tokenizer.save_pretrained(tmp_path / folder)
        folders.append(tmp_path / folder)
    if family not in ("GPT2", "Mamba"):
        write_adapter(tmp_path / "a", tmp_path / "runs" / "one" / "adapter", 1)
    return ModelManager(TinyPair(*folders).settings)


def test_requests_that_join_and_leave_get_the_tokens_of_lone_runs(studio):
    choose = random.Random(3)
    names = ["base", *(spec.key for spec in studio.runs())]
    with studio.lease("base") as base:
        assert base.resident.lean is None
        for _ in range(2):
            held = [studio.lease(choose.choice(names)) for _ in range(5)]
            leases = [lease.__enter__() for lease in held]
            asked = [
                (lease, Request([choose.randrange(10, 300) for _ in range(choose.randint(1, 40))], NONE, length))
                for lease, length in zip(leases, (3, 16, 8, 12, 20), strict=True)
            ]
            tickets = [*studio.engine.submit(asked[:3]), *studio.engine.submit(asked[3:])]
            for ticket, (lease, request) in zip(tickets, asked, strict=True):
                ids = []
                while not ticket.done:
                    ids += [token.id for token in ticket.take(1.0)]
                assert ids == [token for token, _ in stream(lease, request.ids, request.max_new_tokens, stops=NONE)]
            for lease in held:
                lease.__exit__(None, None, None)
