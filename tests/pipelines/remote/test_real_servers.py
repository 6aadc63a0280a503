"""The embedded pair behind real servers: the same answers as on this machine, and what each server does not give."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.answering import Sampling
from pipelines.completion import chat, complete, continue_ids, next_tokens, spelled
from pipelines.errors import InputError
from pipelines.messages import Message
from pipelines.models import ModelManager
from pipelines.settings import Settings
from tests.serving import SERVERS

pytestmark = pytest.mark.slow
QUESTIONS = ("What is the capital of France?", "Who wrote Hamlet?", "The largest planet is", "Grüße, 東京 🌍")


@pytest.fixture(scope="module", params=list(SERVERS))
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Name and address."""
    with SERVERS[request.param](tmp_path_factory.mktemp("serve")) as url:
        yield request.param, url


@pytest.fixture(scope="module")
def here() -> ModelManager:
    return ModelManager(Settings(device="cpu"))


@pytest.fixture
def there(served: tuple[str, str], tmp_path: Path) -> ModelManager:
    """The tokenizer is here."""
    return ModelManager(Settings(endpoint=served[1], device="cpu", runs_dir=tmp_path))


@pytest.fixture
def bare(served: tuple[str, str], tmp_path: Path) -> ModelManager:
    """Known by nothing but the names that the server lists."""
    pair = "studio/pocket-base,studio/pocket-instruct"
    return ModelManager(Settings(pair=pair, endpoint=served[1], device="cpu", runs_dir=tmp_path))


def last(values):
    *_, value = values
    return value


@pytest.mark.parametrize("question", QUESTIONS)
def test_greedy_answers_are_those_of_this_machine(here, there, bare, question):
    for ask in (
        lambda manager: complete(manager, question, sampling=Sampling(40)),
        lambda manager: chat(manager, (Message("user", question),), sampling=Sampling(40)),
    ):
        mine = last(ask(here))
        for theirs in (last(ask(there)), last(ask(bare))):
            assert theirs.text == mine.text and theirs.stop_reason == mine.stop_reason


def test_a_branch_goes_on_as_on_this_machine(here, there):
    for manager in (here, there):
        answer = last(chat(manager, (Message("user", QUESTIONS[0]),), sampling=Sampling(20)))
        ids = (*answer.prompt_ids, *(token.id for token in answer.tokens[:3]))
        text = last(continue_ids(manager, ids, "instruct", Sampling(20))).text
        assert "".join(token.text for token in answer.tokens[:3]) + text == answer.text
        assert spelled(manager, "instruct", answer.prompt_ids)[-1] == ("<|assistant|>", True)


def test_probabilities_are_those_of_this_machine_or_said_to_be_missing(here, there, served):
    prompt = "The capital of France is"
    if served[0] == "transformers serve":
        with pytest.raises(InputError, match="gives no probabilities"):
            next_tokens(there, prompt)
        assert last(complete(there, prompt)).tokens[0].alternatives == ()
        return
    mine, theirs = next_tokens(here, prompt, k=8), next_tokens(there, prompt, k=8)
    assert [token.id for token in theirs] == [token.id for token in mine]
    assert [token.probability for token in theirs] == pytest.approx([token.probability for token in mine], rel=0.02)
    for ask in (
        lambda manager: complete(manager, prompt, sampling=Sampling(12)),
        lambda manager: chat(manager, (Message("user", QUESTIONS[0]),), sampling=Sampling(12)),
    ):
        mine, theirs = last(ask(here)), last(ask(there))
        for one, other in zip(mine.tokens, theirs.tokens, strict=False):
            assert (other.id, other.text) == (one.id, one.text)
            assert other.probability == pytest.approx(one.probability, rel=0.02, abs=1e-3)
            assert len(other.alternatives) == 10


def test_a_stopped_answer_frees_the_server(there):
    cancel = threading.Event()
    answers = complete(there, "The", sampling=Sampling(400, 1.0), cancel=cancel)
    next(answers)
    cancel.set()
    assert last(answers).stop_reason == "cancelled"
    assert last(complete(there, "The", sampling=Sampling(1))).new_tokens == 1


def test_weights_are_not_to_be_had(there):
    with pytest.raises(InputError, match="gives texts and no weights"), there.lease("base"):
        pass
