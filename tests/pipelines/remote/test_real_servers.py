"""The embedded pair behind a real `transformers serve`: the same answers as on this machine, and what cannot be had."""

from __future__ import annotations

import socket
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
from tests.serving import transformers_serve

pytestmark = pytest.mark.slow
QUESTIONS = ("What is the capital of France?", "Who wrote Hamlet?", "The largest planet is")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with transformers_serve(tmp_path_factory.mktemp("serve"), port) as address:
        yield address


@pytest.fixture(scope="module")
def here() -> ModelManager:
    return ModelManager(Settings(device="cpu"))


@pytest.fixture(params=["pocket", "studio/pocket-base,studio/pocket-instruct"], ids=["tokenizer here", "text alone"])
def there(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> ModelManager:
    return ModelManager(Settings(pair=request.param, endpoint=url, device="cpu", runs_dir=tmp_path))


def last(values):
    *_, value = values
    return value


@pytest.mark.parametrize("question", QUESTIONS)
def test_greedy_answers_are_those_of_this_machine(here, there, question):
    for ask in (
        lambda manager: complete(manager, question, sampling=Sampling(40)),
        lambda manager: chat(manager, (Message("user", question),), sampling=Sampling(40)),
        lambda manager: chat(manager, (Message("user", question),), "base", Sampling(40)),
    ):
        mine, theirs = last(ask(here)), last(ask(there))
        assert theirs.text == mine.text and theirs.stop_reason == mine.stop_reason
        assert theirs.new_tokens == mine.new_tokens
        assert all(token.probability is None and not token.alternatives for token in theirs.tokens)


def test_a_branch_goes_on_as_on_this_machine(here, url, tmp_path):
    there = ModelManager(Settings(endpoint=url, device="cpu", runs_dir=tmp_path))
    for manager in (here, there):
        answer = last(chat(manager, (Message("user", QUESTIONS[0]),), sampling=Sampling(20)))
        ids = (*answer.prompt_ids, *(token.id for token in answer.tokens[:3]))
        text = last(continue_ids(manager, ids, "instruct", Sampling(20))).text
        assert "".join(token.text for token in answer.tokens[:3]) + text == answer.text
        assert spelled(manager, "instruct", answer.prompt_ids)[-1] == ("<|assistant|>", True)


def test_a_stopped_answer_frees_the_server(there):
    cancel = threading.Event()
    answers = complete(there, "The", sampling=Sampling(400, 1.0), cancel=cancel)
    next(answers)
    cancel.set()
    assert last(answers).stop_reason == "cancelled"
    # The server writes one answer at a time: a stream that was not given up would keep this one waiting.
    assert last(complete(there, "The", sampling=Sampling(1))).new_tokens == 1


def test_what_it_does_not_give_is_said(there):
    with pytest.raises(InputError, match="gives no probabilities"):
        next_tokens(there, "The")
    with pytest.raises(InputError, match="gives texts and no weights"), there.lease("base"):
        pass
