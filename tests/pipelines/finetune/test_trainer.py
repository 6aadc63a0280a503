"""What goes into TRL's trainer, and what the small changes to it do."""

import pytest

from pipelines.finetune import computing
from pipelines.finetune.arguments import lora_arguments, sft_arguments
from pipelines.finetune.computing import scoring_supervised_positions_only
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.conversations import build_examples
from pipelines.finetune.loading import keep_trainable, load_base, load_tokenizer
from pipelines.finetune.preparing import plan
from pipelines.labels import IGNORE_INDEX, label
from pipelines.models import ModelManager
from pipelines.templates import render, template_of


@pytest.fixture
def planned(settings, small_lesson):
    asked = FinetuneConfig.from_dict({"max_steps": 3, "batch_size": 4})
    return plan(asked, settings.runs_dir, ModelManager(settings))


@pytest.fixture
def examples(planned):
    return build_examples(planned.rows, load_tokenizer(planned.model), planned.config, planned.model)


def _trainer(planned, examples, tmp_path):
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    arguments = sft_arguments(planned.config, planned.model.parameters, "cpu")
    return SFTTrainer(
        model=load_base(planned.model, planned.config, "cpu"),
        args=SFTConfig(output_dir=str(tmp_path), dataset_kwargs={"skip_prepare_dataset": True}, **arguments),
        train_dataset=Dataset.from_list([example.as_columns() for example in examples.train]),
        processing_class=load_tokenizer(planned.model),
        peft_config=LoraConfig(**lora_arguments(planned.config)),
    )


def test_the_batch_has_the_labels_of_the_mask_shown_in_the_sft_tab(planned, examples, tmp_path):
    """TRL's own data loader, batch by batch, against `pipelines.labels` on the same conversations."""
    tokenizer = load_tokenizer(planned.model)
    template = template_of(tokenizer)
    trainer = _trainer(planned, examples, tmp_path)
    rows = iter(examples.train)
    seen = 0
    for batch in trainer.get_train_dataloader():
        for ids, labels, attention in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
            expected = label(render(next(rows).messages, template), tokenizer)
            length = len(expected.input_ids)
            assert ids[:length].tolist() == list(expected.input_ids)
            assert labels[:length].tolist() == list(expected.labels)
            assert attention.tolist() == [1] * length + [0] * (len(ids) - length)
            assert set(labels[length:].tolist()) <= {IGNORE_INDEX}
            seen += 1
    assert seen == len(examples.train)


def test_the_end_of_an_answer_is_supervised_and_its_question_is_not(planned, examples):
    tokenizer = load_tokenizer(planned.model)
    example = examples.train[0]
    learned = tokenizer.decode([token for token in example.labels if token != IGNORE_INDEX])
    assert learned == example.messages[-1].content + "<|end|>"


def test_leaving_out_unlabelled_positions_changes_no_loss_and_no_gradient(planned, examples, tmp_path):
    import torch

    trainer = _trainer(planned, examples, tmp_path)
    batch = next(iter(trainer.get_train_dataloader()))
    results = []
    for patch in (False, True):
        trainer.model.zero_grad()
        if patch:
            with scoring_supervised_positions_only():
                loss = trainer.compute_loss(trainer.model, dict(batch))
                loss.backward()
        else:
            loss = trainer.compute_loss(trainer.model, dict(batch))
            loss.backward()
        gradients = [p.grad.clone() for p in trainer.model.parameters() if p.grad is not None]
        results.append((loss.item(), gradients))
    (loss, gradients), (other_loss, other_gradients) = results
    assert other_loss == pytest.approx(loss, rel=1e-6)
    assert len(gradients) == len(other_gradients) > 0
    for one, other in zip(gradients, other_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kept_bytes", [0, computing.KEPT_BYTES])
def test_only_labelled_positions_reach_the_head(planned, examples, tmp_path, monkeypatch, kept_bytes):
    """Whether the logits are kept, or computed in TRL's chunks."""
    rows = []
    original = computing.KeptLogits.apply
    monkeypatch.setattr(computing, "KEPT_BYTES", kept_bytes)
    monkeypatch.setattr(
        computing.KeptLogits,
        "apply",
        lambda self, hidden, *rest: rows.append(len(hidden)) or original(self, hidden, *rest),
    )
    trainer = _trainer(planned, examples, tmp_path)
    batch = next(iter(trainer.get_train_dataloader()))
    with scoring_supervised_positions_only():
        trainer.compute_loss(trainer.model, dict(batch))
    assert rows == [int((batch["labels"][:, 1:] != IGNORE_INDEX).sum())]


@pytest.mark.parametrize("bias", [False, True])
def test_kept_logits_give_what_trl_computes_in_chunks(bias):
    import torch
    from trl.trainer import utils

    draw = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(7, 16, generator=draw), torch.randn(101, 16, generator=draw)
    offset = torch.randn(101, generator=draw) if bias else None
    targets = torch.randint(0, 101, (7,), generator=draw)
    upstream = torch.randn(7, generator=draw)
    found = []
    for function in (utils._ChunkedLogProbFunction, computing.KeptLogits(None)):
        leaves = [one.clone().requires_grad_() for one in (hidden, weight, offset) if one is not None]
        given = (*leaves, None)[:3]
        out = function.apply(*given, targets, 1.0, 32, None, 1.0, ("log_probs", "entropy", "is_top1"))
        (out[0] * upstream).sum().backward()
        found.append(([out[0], out[1], out[4].float()], [one.grad for one in leaves]))
    for one, other in zip(found[0][0] + found[0][1], found[1][0] + found[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_four_bit_gradients_are_right_after_the_model_has_generated(planned, examples):
    """bitsandbytes repacks 4-bit layers for inference on a CPU with AVX512-BF16; gradients after that are wrong.

    The reference is the same model with every 4-bit layer replaced by its dequantized weights.
    """
    torch = pytest.importorskip("torch")
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit
    from peft import LoraConfig, get_peft_model

    config = FinetuneConfig(method="qlora", dtype="bf16").resolved(1000, 10, 128)
    quantized = load_base(planned.model, config, "cpu")
    assert any(isinstance(module, Linear4bit) for module in quantized.modules())
    assert not any(getattr(module, "support_avx512bf16_for_cpu", False) for module in quantized.modules())
    exact = load_base(planned.model, FinetuneConfig(dtype="bf16").resolved(1000, 10, 128), "cpu")
    layers = dict(exact.named_modules())
    for name, module in quantized.named_modules():
        if isinstance(module, Linear4bit):
            weight = dequantize_4bit(module.weight.data, module.weight.quant_state)
            layers[name].weight.data = weight.to(torch.bfloat16).reshape(layers[name].weight.shape)
    ids = torch.tensor([list(examples.train[0].input_ids)])
    gradients = []
    for model in (quantized, exact):
        torch.manual_seed(1)
        adapted = get_peft_model(model, LoraConfig(**lora_arguments(config)))
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:  # zero at first, which would hide every gradient of A
                torch.nn.init.normal_(parameter, std=0.02)
        adapted.eval()
        with torch.no_grad():
            adapted.generate(input_ids=ids, max_new_tokens=3, do_sample=False)
        adapted.train()
        adapted(input_ids=ids, labels=ids).loss.backward()
        gradients.append({n: p.grad.float().flatten() for n, p in adapted.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    cosines = [torch.cosine_similarity(gradients[0][name], gradients[1][name], dim=0).item() for name in gradients[0]]
    assert min(cosines) > 0.95


def test_keeping_a_model_trainable_needs_four_bit_layers_only():
    import torch

    model = torch.nn.Linear(2, 2)
    keep_trainable(model)
    assert not hasattr(model, "support_avx512bf16_for_cpu")


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_four_bit_layers_compute_in_the_dtype_of_the_run(planned, dtype):
    """In bf16 a step of the pocket pair takes fourteen times as long on a CPU that has no units for it."""
    torch = pytest.importorskip("torch")
    from bitsandbytes.nn import Linear4bit

    quantized = load_base(planned.model, FinetuneConfig(method="qlora", dtype=dtype).resolved(1000, 10, 128), "cpu")
    computed = {module.compute_dtype for module in quantized.modules() if isinstance(module, Linear4bit)}
    assert computed == {torch.float32 if dtype == "fp32" else torch.bfloat16}
