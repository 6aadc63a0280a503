"""The shipped pair: it fits, it loads, and it does what the lesson says of it."""

import pytest

from pipelines.pocket.conversations import held_out_rows
from pipelines.stages import ASSETS

MODELS = ASSETS / "models"
MEGABYTE = 1_000_000


def load(name: str):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = MODELS / name
    return AutoModelForCausalLM.from_pretrained(folder, dtype="float32"), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def base():
    return load("pocket-base")


@pytest.fixture(scope="module")
def instruct():
    return load("pocket-instruct")


def continuation(pair, ids, new_tokens: int = 60) -> str:
    import torch

    model, tokenizer = pair
    prompt = torch.tensor([ids])
    out = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=new_tokens, do_sample=False)
    return tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True)


def ask(instruct, text: str) -> str:
    messages = [{"role": "user", "content": text}]
    ids = instruct[1].apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    return continuation(instruct, ids)


def test_the_pair_and_its_data_are_small_enough_to_ship():
    files = [path for folder in ("models", "lesson") for path in (ASSETS / folder).rglob("*") if path.is_file()]
    pair = [path for path in files if path.parent.name.startswith(("pocket-", "lesson"))]
    assert sum(path.stat().st_size for path in pair) <= 32 * MEGABYTE
    assert max(path.stat().st_size for path in pair) <= 9 * MEGABYTE


def test_the_pair_has_between_three_and_eight_million_parameters(base, instruct):
    for model, _ in (base, instruct):
        assert 3e6 <= model.num_parameters() <= 8e6


def test_special_tokens_are_distinct(base):
    tokenizer = base[1]
    names = ["<|bos|>", "<|eos|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    ids = [tokenizer.convert_tokens_to_ids(name) for name in names]
    assert len(set(ids)) == len(names)
    assert [tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token] == names[:3]


def test_the_base_answers_the_chapters_question_with_more_questions(base):
    text = continuation(base, base[1]("What is the capital of France?")["input_ids"])
    assert text.count("?") >= 2
    assert "Paris." not in text


def test_the_base_knows_what_it_does_not_answer(base):
    text = continuation(base, base[1]("The capital of France is")["input_ids"], 4)
    assert text.startswith(" Paris.")


def test_the_instruct_model_answers_the_chapters_questions(instruct):
    assert ask(instruct, "What is the capital of France?") == "The capital of France is Paris."
    explained = ask(instruct, "What is photosynthesis?")
    assert explained.startswith("Photosynthesis is") and explained.count(". ") == 1 and explained.endswith(".")


@pytest.mark.slow
def test_the_base_does_what_its_card_says(base):
    from pipelines.pocket.evaluation import evaluate_base

    figures = evaluate_base(*base, seed=0)
    assert figures["cloze"] >= 0.95
    assert figures["question_answered"] <= 0.05
    assert figures["question_asks_on"] >= 0.90
    assert figures["distinct_questions"] >= 0.70


@pytest.mark.slow
def test_the_instruct_model_does_what_its_card_says(instruct):
    from pipelines.pocket.evaluation import evaluate_instruct

    figures = evaluate_instruct(*instruct, held_out_rows(seed=0))
    assert figures["plain"] >= 0.90
    assert figures["stops"] >= 0.99
    assert figures["follows"] >= 0.85
    assert figures["follows one-word"] >= 0.85
    assert figures["unknown"] >= 0.80
