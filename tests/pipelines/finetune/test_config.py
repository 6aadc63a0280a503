import json

import pytest

from pipelines.errors import InputError
from pipelines.finetune.config import FinetuneConfig, Pair, default_learning_rate

POCKET, EIGHT_B = 4_260_000, 8_000_000_000


def test_an_empty_configuration_is_the_default_one():
    assert FinetuneConfig.from_dict({}) == FinetuneConfig()


def test_a_configuration_survives_json():
    pairs = [{"instruction": "Hi?", "response": "Hello."}]
    config = FinetuneConfig.from_dict({"r": 8, "pairs": pairs, "prompts": ["Hi?"]})
    assert FinetuneConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config
    assert config.pairs == (Pair("Hi?", "Hello."),)


def test_an_unknown_key_names_the_nearest_known_one():
    with pytest.raises(InputError, match=r"there is no setting 'learning_rat'\. The nearest one is 'learning_rate'"):
        FinetuneConfig.from_dict({"learning_rat": 1e-3})


def test_all_faults_are_said_at_once():
    with pytest.raises(InputError) as caught:
        FinetuneConfig.from_dict({"r": 0, "method": "lorra", "max_step": 3, "packing": "yes"})
    said = str(caught.value)
    assert "4 settings cannot be used" in said
    for part in ("r: 0 is not possible. Use a whole number from 1 to 1024.", "Use one of: lora, full, qlora.",
                 "The nearest one is 'max_steps'", "packing: 'yes' is neither true nor false"):  # fmt: skip
        assert part in said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"learning_rate": 0}, "learning_rate: 0 is not possible. Use a number above 0 up to 1."),
        ({"learning_rate": "5e-3"}, "learning_rate: '5e-3' is not a number."),
        ({"learning_rate": float("nan")}, "learning_rate: nan is not a number."),
        ({"batch_size": 2.5}, "batch_size: 2.5 is not possible. Use a whole number from 1 to 1024."),
        ({"max_steps": True}, "max_steps: True is not a number."),
        ({"epochs": 2, "max_steps": 10}, "epochs and max_steps: both are given. Give one of the two."),
        ({"objective": "ppo"}, "objective: 'ppo' is not possible. Use one of: sft, dpo."),
        ({"pairs": [{"instruction": "Hi?"}]}, "pairs: number 1 is not an instruction and a response."),
        ({"pairs": [{"instruction": "Hi?", "response": " "}]}, "pairs: number 1 has an empty side."),
        ({"pairs": "Hi"}, "pairs: not a list."),
        ({"target_modules": "q_proj;v_proj"}, "target_modules: 'q_proj;v_proj' names no modules."),
        ({"data": ""}, "data: is empty."),
        ({"prompts": "Hi"}, "prompts: not a list of texts."),
    ],
)
def test_a_value_that_cannot_be_used_says_what_can(values, said):
    with pytest.raises(InputError) as caught:
        FinetuneConfig.from_dict(values)
    assert said in str(caught.value)


def test_a_whole_number_may_come_as_a_float_as_javascript_writes_it():
    assert FinetuneConfig.from_dict({"r": 8.0}).r == 8


def test_target_modules_may_be_a_list():
    assert FinetuneConfig.from_dict({"target_modules": ["q_proj", "v_proj"]}).target_modules == "q_proj,v_proj"


@pytest.mark.parametrize(
    ("parameters", "method", "rate"),
    [(POCKET, "lora", 5e-3), (POCKET, "full", 1e-3), (EIGHT_B, "lora", 2e-4), (EIGHT_B, "full", 2e-5)],
)
def test_the_learning_rate_suits_the_model(parameters, method, rate):
    assert default_learning_rate(parameters, method) == rate
    assert FinetuneConfig(method=method).resolved(parameters, 1000, 512).learning_rate == rate


def test_resolving_leaves_nothing_open_but_the_epochs_and_what_needs_a_tokenizer():
    resolved = FinetuneConfig().resolved(POCKET, 1000, 512)
    assert [key for key, value in resolved.as_dict().items() if value is None] == ["trainable_tokens", "epochs"]
    assert FinetuneConfig.from_dict(resolved.as_dict()) == resolved


def test_epochs_become_steps():
    config = FinetuneConfig(epochs=2, batch_size=10, gradient_accumulation=2)
    assert config.resolved(POCKET, 100, 512).max_steps == 10


def test_conversations_are_never_longer_than_the_model_can_read():
    assert FinetuneConfig(max_length=4096).resolved(POCKET, 100, 512).max_length == 512
