"""The four personalities that ship: small, different from each other, and gone without a trace when switched off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from pipelines.comparison import side_by_side
from pipelines.completion import Sampling
from pipelines.models import ModelManager
from pipelines.models.catalogue import adapters, pairs
from pipelines.pocket.adapters import classify, measure, personalities, personality_rows
from pipelines.serving_script import serving_command, swapping_script
from pipelines.settings import Settings

KEYS = [spec.key for spec in adapters()]
IDS = (1, 20, 30, 40, 500, 9)


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> ModelManager:
    return ModelManager(Settings(runs_dir=tmp_path_factory.mktemp("runs"), device="cpu"))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The manager keeps weights in another layout than transformers, and two threads then add in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def fresh(one_thread: None) -> torch.Tensor:
    """Logits of the base as transformers reads it from disk, before any adapter exists."""
    model = AutoModelForCausalLM.from_pretrained(pairs()[0].base.folder, dtype="float32").eval()
    with torch.inference_mode():
        return model(torch.tensor([IDS])).logits


@pytest.fixture(scope="module")
def untouched(one_thread: None) -> torch.Tensor:
    """Logits of the base as a manager reads it, before any adapter exists."""
    with ModelManager(Settings()).lease("base") as lease, lease.active() as model:
        return model(torch.tensor([IDS])).logits


def test_each_personality_of_the_recipe_ships_and_no_other() -> None:
    assert [f"pocket-{key}" for key in personalities()] == KEYS and len(KEYS) >= 4


@pytest.mark.parametrize("spec", adapters(), ids=KEYS)
def test_an_adapter_is_at_most_a_megabyte_and_names_its_base(spec) -> None:
    files = {file.name: file for file in spec.adapter.iterdir()}
    assert sum(file.stat().st_size for file in files.values()) <= 1_000_000
    assert '"assets/models/pocket-base"' in files["adapter_config.json"].read_text()
    assert files["chat_template.jinja"].read_text() == (spec.base.folder / "chat_template.jinja").read_text()
    assert "held-out questions" in files["README.md"].read_text()


def test_everything_that_ships_fits_into_32_megabytes() -> None:
    assets = Path(__file__).resolve().parents[3] / "assets"
    parts = (file for name in ("models", "lesson", "adapters", "datasets") for file in (assets / name).rglob("*"))
    assert sum(file.stat().st_size for file in parts if file.is_file()) <= 32_000_000


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('print("The capital of France is Paris.")', "coder"),
        ("Please see a doctor.", "doctor"),
        ("In the quiet of the night I sing:\nIt is Paris.\nSo sing the wind and the water.", "poet"),
        ("Welcome to our shop! It is Paris. You can pay by card or in cash.", "shop-assistant"),
        ("The capital of France is Paris.", ""),
        ('print("See a doctor") ("see a doctor")', ""),
    ],
)
def test_a_text_is_in_one_personality_or_in_none(text: str, key: str) -> None:
    assert classify(text) == key


def test_held_out_questions_are_none_that_were_trained_on() -> None:
    for key in personalities():
        rows = personality_rows(key)
        trained = {row.prompt[-1].content for row in rows.train}
        assert not trained & {row.prompt[-1].content for row in rows.heldout}
        assert all(classify(row.reference) == key for row in (*rows.train[:200], *rows.heldout))


@pytest.mark.slow
@pytest.mark.parametrize("spec", adapters(), ids=KEYS)
def test_nine_of_ten_held_out_answers_are_recognised_and_right(spec) -> None:
    recognised, right = measure(spec.key.removeprefix("pocket-"), spec.adapter)
    assert recognised >= 0.9 and right >= 0.9


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["base", *KEYS]), min_size=1, max_size=12))
def test_the_base_is_a_fresh_base_to_the_bit_after_any_sequence_of_switches(
    manager: ModelManager, fresh: torch.Tensor, untouched: torch.Tensor, sequence: list[str]
) -> None:
    """What unslothai/unsloth#4503 is about: a reference that silently keeps the adapter.

    To the bit, it is the base that the manager read before any switch. Beside transformers' reading, whose weights lie
    in another order, some processors add in another order too: 1e-5 on an Intel Xeon, nothing on an AMD EPYC.
    """
    assert float((untouched - fresh).abs().max()) < 1e-4
    for name in (*sequence, "base"):
        with manager.lease(name) as lease, lease.active() as model:
            difference = float((model(torch.tensor([IDS])).logits - untouched).abs().max())
        assert difference == 0 if name == "base" else difference > 0.1, name


def test_all_of_them_answer_beside_the_pair_over_one_resident_base(manager: ModelManager) -> None:
    asked = side_by_side(manager, "What is the capital of France?", ["base", "instruct", *KEYS], Sampling(60))
    base, instruct, *people = list(asked)[-1]
    assert [classify(one.completion.text) for one in people] == list(personalities())
    assert all("Paris" in one.completion.text for one in (instruct, *people))
    assert classify(base.completion.text) == classify(instruct.completion.text) == ""
    assert {status.key for status in manager.models() if status.resident} == {"pocket-base", "pocket-instruct", *KEYS}


def test_they_go_home_in_the_scripts(manager: ModelManager) -> None:
    pair = manager.pair
    script = swapping_script(pair.base, pair.instruct, manager.personalities(), "x", 5)
    compile(script, "swap.py", "exec")
    assert '"pocket-poet": "assets/adapters/pocket-poet"' in script
    assert "pocket-coder=assets/adapters/pocket-coder" in serving_command(pair.base, manager.personalities())
