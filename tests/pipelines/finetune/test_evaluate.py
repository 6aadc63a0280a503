import pytest

from pipelines.finetune.evaluate import Answer, answer_all, is_right, normalise, score


@pytest.mark.parametrize(
    ("text", "stopped", "accepted", "right"),
    [
        ("The capital of France is Paris.", True, ["Paris"], True),
        ("paris", True, ["Paris"], True),
        ("It is São Tomé.", True, ["Sao Tome"], True),
        ("The currency is the US dollar.", True, ["the US Dollar"], True),
        ("Parisian", True, ["Paris"], False),  # not a whole word
        ("The capital of France is Paris.", False, ["Paris"], False),  # did not end
        ("What is the capital of France? Paris?", True, ["Paris"], False),  # asks back
        ("I do not know.", True, ["Paris"], False),
        ("Lyon or Paris", True, ["Rome", "Paris"], True),
        ("anything", True, [""], False),  # an empty answer accepts nothing
    ],
)
def test_an_answer_is_right_when_it_ends_holds_the_words_and_asks_nothing(text, stopped, accepted, right):
    assert is_right(Answer(text, stopped), accepted) is right


def test_normalising_keeps_words_in_order():
    assert normalise("  The “Élysée”,  Palace!") == "elysee palace"


def test_shares_are_counted_over_all_rows():
    answers = [Answer("Paris.", True), Answer("Rome and on", False), Answer("Oslo", True)]
    result = score(answers, [["Paris"], ["Rome"], ["Lima"]], ["Paris.", "Rome.", "Lima."])
    assert (result.accuracy, result.stopped, result.exact) == pytest.approx((1 / 3, 2 / 3, 1 / 3))
    assert score([], [], []).accuracy == 0.0


def test_a_batch_answers_as_each_prompt_alone_does(tiny_models):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_models[0])
    model = AutoModelForCausalLM.from_pretrained(tiny_models[0], dtype="float32")
    prompts = [tokenizer(text)["input_ids"] for text in ("What", "What is the capital of France?", "The capital of")]
    ends = [tokenizer.eos_token_id]
    together = answer_all(model, tokenizer, prompts, 12, ends, batch_size=2)
    alone = [answer_all(model, tokenizer, [prompt], 12, ends)[0] for prompt in prompts]
    assert together == alone


def test_a_model_is_left_in_the_mode_it_was_in(tiny_models):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_models[0])
    model = AutoModelForCausalLM.from_pretrained(tiny_models[0], dtype="float32").train()
    answer_all(model, tokenizer, [[5, 6]], 3, [tokenizer.eos_token_id], cancelled=lambda: True)
    assert model.training
