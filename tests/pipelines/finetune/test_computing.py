"""How a step is computed may not change what it computes."""

from __future__ import annotations

import pytest

from pipelines.finetune import computing
from pipelines.finetune.computing import PACKED_TYPES, attend_by_conversation, computing_arguments
from pipelines.finetune.config import SMALL_MODEL, FinetuneConfig
from pipelines.labels import IGNORE_INDEX

torch = pytest.importorskip("torch")
LENGTHS = (5, 1, 12, 7)


def _model(kind: str, **options):
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    sizes = dict(
        vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=64, initializer_range=0.3, pad_token_id=0,
    )  # fmt: skip
    config = AutoConfig.for_model(kind, **sizes | options)
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").float().eval()


def _batches():
    """The same conversations by TRL's collator: padded, and without padding in one row."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    draw = torch.Generator().manual_seed(1)
    rows = [torch.randint(1, 97, (length,), generator=draw).tolist() for length in LENGTHS]
    examples = [{"input_ids": row, "labels": [IGNORE_INDEX] * (len(row) // 2) + row[len(row) // 2 :]} for row in rows]
    return [DataCollatorForLanguageModeling(pad_token_id=0, padding_free=free)(examples) for free in (False, True)]


def _loss_and_gradients(model, batch):
    model.zero_grad()
    loss = model(**batch, use_cache=False).loss
    loss.backward()
    return loss.item(), [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]


@pytest.mark.parametrize("by_conversation", [False, True])
@pytest.mark.parametrize("kind", sorted(PACKED_TYPES))
def test_a_batch_without_padding_has_the_loss_and_the_gradients_of_the_padded_one(kind, by_conversation):
    model = _model(kind)
    padded, packed = _batches()
    loss, gradients = _loss_and_gradients(model, padded)
    if by_conversation:
        attend_by_conversation(model)
    other_loss, other_gradients = _loss_and_gradients(model, packed)
    assert other_loss == pytest.approx(loss, rel=1e-5)
    assert len(gradients) == len(other_gradients) > 0
    for one, other in zip(gradients, other_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_conversations_are_attended_one_by_one(monkeypatch):
    from transformers.integrations import sdpa_attention

    model, seen = _model("llama"), []
    original = sdpa_attention.sdpa_attention_forward

    def watched(module, query, *rest, **options):
        seen.append(query.shape[2])
        return original(module, query, *rest, **options)

    monkeypatch.setattr(sdpa_attention, "sdpa_attention_forward", watched)
    attend_by_conversation(model)
    model(**_batches()[1], use_cache=False)
    assert seen == list(LENGTHS) * 3


def test_a_model_in_bf16_attends_in_float32(monkeypatch):
    """Autocast, as the trainer uses it, would make bf16 of the states again, and torch's kernel slow."""
    from transformers.integrations import sdpa_attention

    whole, dtypes = _model("llama"), set()
    loss, _ = _loss_and_gradients(whole, _batches()[0])
    original = torch.nn.functional.scaled_dot_product_attention

    def watched(query, *rest, **options):
        answer = original(query, *rest, **options)
        dtypes.add((query.dtype, answer.dtype))
        return answer

    monkeypatch.setattr(sdpa_attention.torch.nn.functional, "scaled_dot_product_attention", watched)
    model = whole.to(torch.bfloat16)
    attend_by_conversation(model)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(**_batches()[1], use_cache=False, output_hidden_states=True)
    assert dtypes == {(torch.float32, torch.float32)}
    assert outputs.hidden_states[-1].dtype == torch.bfloat16
    assert outputs.loss.item() == pytest.approx(loss, rel=0.02)


def test_a_sliding_window_keeps_its_mask():
    model = _model("mistral", sliding_window=4)
    attend_by_conversation(model)
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("padding", ["left", "right"])
def test_generation_and_padded_batches_are_as_before(padding):
    model = _model("llama")
    ids = torch.randint(1, 97, (3, 9), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    mask[0, :4] = mask[1, :1] = 0
    if padding == "right":
        mask = mask.flip(1)
    asked = dict(input_ids=ids * mask, attention_mask=mask)
    before = model(**asked).logits[mask.bool()]
    spoken = model.generate(**asked, max_new_tokens=8, do_sample=False)
    attend_by_conversation(model)
    torch.testing.assert_close(model(**asked).logits[mask.bool()], before)
    assert torch.equal(model.generate(**asked, max_new_tokens=8, do_sample=False), spoken)


def test_checkpointing_begins_where_the_free_memory_would_not_suffice(monkeypatch):
    model, config = _model("llama"), FinetuneConfig().resolved(SMALL_MODEL, 10, 64)
    chosen = []
    for free in (0, 1 << 40):
        monkeypatch.setattr(computing, "free_memory", lambda device, free=free: free)
        chosen.append(computing_arguments(model, config, SMALL_MODEL, 64)["gradient_checkpointing"])
    assert chosen == [True, False]


def test_small_models_are_left_as_they_are():
    arguments = computing_arguments(_model("llama"), FinetuneConfig().resolved(1000, 10, 64), 1000, 64)
    assert arguments == {"gradient_checkpointing": False}


def test_a_family_that_was_not_tested_is_padded():
    model = _model("llama")
    model.config.model_type = "somethingnew"
    config = FinetuneConfig().resolved(SMALL_MODEL, 10, 64)
    assert "padding_free" not in computing_arguments(model, config, SMALL_MODEL, 64)
