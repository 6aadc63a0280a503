"""Models of a server through the pipelines that tabs and endpoints call: no stage knows where an answer comes from."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace

import pytest

from pipelines.answering import Sampling
from pipelines.comparison import measure_merge, prove_base, side_by_side
from pipelines.completion import chat, complete, continue_ids, next_tokens, spelled, stop_ids, token_losses
from pipelines.errors import InputError
from pipelines.messages import Message
from pipelines.models import ModelManager
from pipelines.settings import Settings
from tests.pipelines.remote.conftest import Reply, as_events, as_json, said, written

ANY_PAIR = Settings(device="cpu")
QUESTION = (Message("user", "Which city?"),)
PARIS = {" Paris": math.log(0.75), " Rome": math.log(0.125)}
END = {"<|im_end|>": math.log(0.5), ".": math.log(0.25)}


@pytest.fixture
def manager(server, tiny_pair):
    """The tokenizer of the pair is here, its answers come from the server."""
    return ModelManager(replace(tiny_pair.settings, endpoint=server.url))


@pytest.fixture
def bare(server, tmp_path):
    """Nothing of the pair is here."""
    pair = "org/tiny-base,org/tiny-instruct"
    return ModelManager(replace(ANY_PAIR, endpoint=f"{server.url}/v1", pair=pair, runs_dir=tmp_path))


def last(values):
    *_, value = values
    return value


def test_a_text_is_continued_with_what_was_asked_and_what_else_could_have_stood_there(server, manager):
    server.answer("completions", as_events(written(" Paris", None, PARIS), written("", "stop", END)))
    seen = list(complete(manager, "The capital is", sampling=Sampling(7, 0.5, 3)))
    assert seen[-1].text == " Paris" and seen[-1].stop_reason == "eos" and seen[-1].new_tokens == 2
    assert [value.stop_reason for value in seen[:-1]] == [None] * (len(seen) - 1)
    first, end = seen[-1].tokens
    assert first.probability == pytest.approx(0.75)
    assert [(other.token, round(other.probability, 3)) for other in first.alternatives] == [
        (" Paris", 0.75),
        (" Rome", 0.125),
    ]
    assert end.special and end.text == "<|im_end|>"
    (body,) = server.bodies("completions")
    assert body == {
        "model": "org/tiny-base", "prompt": "The capital is", "max_tokens": 7, "temperature": 0.5, "top_p": 1.0,
        "seed": 3, "stream": True, "logprobs": 10,
    }  # fmt: skip


def test_a_conversation_is_rendered_by_the_server_and_shown_as_here(server, manager):
    server.answer("chat/completions", as_events(said("Paris", None, {"Paris": 0.0}), said("", "stop")))
    answer = last(chat(manager, QUESTION))
    assert answer.text == "Paris"
    (body,) = server.bodies("chat/completions")
    assert body["model"] == "org/tiny-instruct" and body["messages"] == [{"role": "user", "content": "Which city?"}]
    assert body["logprobs"] is True and body["top_logprobs"] == 10
    assert ("<|user|>", True) in spelled(manager, "instruct", answer.prompt_ids)
    assert stop_ids(manager, "instruct") == set(
        manager.tokenizer("instruct").convert_tokens_to_ids(["<|eos|>", "<|end|>"])
    )


def test_without_a_tokenizer_here_everything_is_text(server, bare):
    server.answer("completions", as_events(written(" Paris", None, PARIS), written("", "stop", END)))
    answer = last(complete(bare, "The capital is"))
    assert spelled(bare, "base", answer.prompt_ids) == [("The capital is", False)]
    rome = answer.tokens[0].alternatives[1]
    last(continue_ids(bare, (*answer.prompt_ids, rome.id), "base", Sampling(3)))
    assert server.bodies("completions")[-1]["prompt"] == "The capital is Rome"
    assert answer.tokens[1].id in stop_ids(bare, "base")
    with pytest.raises(InputError, match=r"the tokenizer of 'org/tiny-base' is not on this machine"):
        bare.tokenizer("base")


def test_a_branch_inside_a_conversation_is_a_turn_that_is_begun(server, bare):
    server.answer("chat/completions", as_events(said("Paris", "length", {"Paris": -1.0, "Rome": -1.5})))
    answer = last(chat(bare, QUESTION))
    last(continue_ids(bare, (*answer.prompt_ids, answer.tokens[0].alternatives[1].id), "instruct"))
    body = server.bodies("chat/completions")[-1]
    assert body["messages"] == [{"role": "user", "content": "Which city?"}, {"role": "assistant", "content": "Rome"}]
    assert body["continue_final_message"] is True and body["add_generation_prompt"] is False
    server.answer("chat/completions", as_json({"detail": "Unexpected fields"}, 422))
    with pytest.raises(InputError, match=r"does not go on inside .* name a folder with it in --pair"):
        last(continue_ids(bare, (*answer.prompt_ids, answer.tokens[0].id), "instruct"))


def test_a_branch_with_a_tokenizer_is_text_with_the_control_tokens_in_it(server, manager):
    server.answer("chat/completions", as_events(said("Paris", "length", {"Paris": -1.0, "Rome": -1.5})))
    server.answer("completions", as_events(written(".", "stop")))
    answer = last(chat(manager, QUESTION))
    last(continue_ids(manager, (*answer.prompt_ids, answer.tokens[0].alternatives[1].id), "instruct"))
    # The server puts <|bos|> before every text.
    assert server.bodies("completions")[-1]["prompt"] == "<|user|>Which city?<|end|><|assistant|>Rome"


def test_a_server_without_probabilities_leaves_the_tokens_bare(server, manager):
    server.answer("completions", as_events(written(" Pa"), written("ris"), written("", "length")))
    answer = last(complete(manager, "The"))
    assert [(token.text, token.probability, token.alternatives) for token in answer.tokens] == [
        (" Pa", None, ()), ("ris", None, ()),
    ]  # fmt: skip
    assert answer.stop_reason == "length"
    server.answer("completions", as_json(written(" Paris", "length")))
    with pytest.raises(InputError, match="gives no probabilities"):
        next_tokens(manager, "The")


def test_fewer_alternatives_are_asked_for_where_many_are_refused_and_that_is_remembered(server, manager):
    def reply(body):
        if body.get("logprobs", 0) > 5:
            return as_json({"object": "error", "message": "logprobs must be at most 5."}, 400)
        return (
            as_events(written(" Paris", "stop", PARIS))
            if body.get("stream")
            else as_json(written(" Paris", "stop", PARIS))
        )

    server.answer("completions", reply)
    assert last(complete(manager, "The")).tokens[0].probability == pytest.approx(0.75)
    assert [token.token for token in next_tokens(manager, "The", k=50)] == [" Paris", " Rome"]
    assert [body["logprobs"] for body in server.bodies("completions")] == [10, 5, 5]


def test_nothing_is_asked_about_probabilities_that_nobody_wants(server, manager):
    server.answer("completions", as_events(written(" Paris", "stop")))
    answer = last(complete(manager, "The", details=False))
    assert answer.tokens == () and answer.new_tokens == 1
    assert "logprobs" not in server.bodies("completions")[0]


def test_a_server_that_does_not_stream_answers_at_once(server, manager):
    server.answer("completions", as_json(written(" Paris", "stop") | {"usage": {"completion_tokens": 2}}))
    answer = last(complete(manager, "The"))
    assert (answer.text, answer.new_tokens, answer.stop_reason) == (" Paris", 2, "eos")


def test_stopping_closes_the_stream(server, manager):
    server.answer("completions", as_events(*[written(" a")] * 400, pause=0.02))
    cancel = threading.Event()
    answers = complete(manager, "The", cancel=cancel)
    assert next(answers).text.startswith(" a")
    cancel.set()
    assert last(answers).stop_reason == "cancelled"
    assert server.left.wait(5)


def test_leaving_closes_the_stream(server, manager):
    server.answer("completions", as_events(*[written(" a")] * 400, pause=0.02))
    answers = complete(manager, "The")
    next(answers)
    answers.close()
    assert server.left.wait(5)


def test_a_stop_before_the_first_token_is_heard(server, manager):
    server.answer("completions", Reply((b": waiting\n\n",) * 200, pause=0.05))
    cancel = threading.Event()
    threading.Timer(0.2, cancel.set).start()
    begin = time.monotonic()
    assert last(complete(manager, "The", cancel=cancel)).stop_reason == "cancelled"
    assert time.monotonic() - begin < 3


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply((b'data: {"choi\n\n',)), r"no JSON.*OpenAI-compatible"),
        (Reply((b"data: " + b"[" * 100_000 + b"\n\n",)), r"no JSON.*OpenAI-compatible"),
        (Reply((b"<html>busy</html>",), 502, "text/html"), r"refuses \(502\)\. What it logs says more\."),
        (as_json({"error": {"message": "The model does not exist."}}, 404), r"404: The model does not exist\)"),
        (as_json({"detail": [{"msg": "bad"}]}, 422), r"refuses \(422: .*bad"),
        (as_json({"error": "Unauthorized"}, 401), r"401: Unauthorized.*STUDIO_ENDPOINT_KEY"),
        (as_json({"message": "slow down"}, 429), r"busy \(429: slow down\).*Ask again later"),
        (Reply((b'data: {"choices": [{"text": " a"}]}\n\n',), cut=True), "broke off"),
        (as_events(written(" a"), done=False), "broke off"),
        (as_events(written(" a", "abort")), r"broke off \(abort\)"),
        (as_events(written(" a"), {"error": {"message": "CUDA error"}}), "ended the answer: CUDA error"),
        (Reply((b"data: []\n\n",)), "not in the form of OpenAI's API"),
        (Reply((b"",), 200, "text/event-stream"), "broke off"),
    ],
)  # fmt: skip
def test_whatever_a_server_does_is_a_sentence(server, manager, reply, message):
    server.answer("completions", reply)
    with pytest.raises(InputError, match=message):
        list(complete(manager, "The"))


def test_a_server_that_is_gone_is_a_sentence(tiny_pair):
    manager = ModelManager(replace(tiny_pair.settings, endpoint="http://127.0.0.1:9"))
    for ask in (lambda: list(complete(manager, "The")), lambda: next_tokens(manager, "The")):
        with pytest.raises(InputError, match=r"endpoint: no server answers at 127.0.0.1:9\. Start it"):
            ask()
    assert manager.gauge().trouble == "no server answers at 127.0.0.1:9"
    assert [status.key for status in manager.models()][:2] == [manager.pair.base.key, manager.pair.instruct.key]


def test_a_silent_server_is_given_up(server, tiny_pair):
    manager = ModelManager(replace(tiny_pair.settings, endpoint=server.url))
    manager._server.client.silence = 0.3
    server.answer("completions", Reply((b": hm\n\n", b": hm\n\n"), pause=2.0))
    with pytest.raises(InputError, match="has sent nothing for"):
        list(complete(manager, "The"))


def test_columns_of_here_and_there_stand_side_by_side(server, manager, tiny_pair):
    from tests.conftest import write_adapter

    manager.register_adapter("mine", write_adapter(tiny_pair.base, tiny_pair.base.parent / "mine"))
    server.answer("completions", as_events(written("\nWhat", "length")))
    server.answer("chat/completions", as_json({"error": {"message": "no template"}}, 400))
    base, instruct, run = last(side_by_side(manager, "Which city?", ["base", "instruct", "run:mine"], Sampling(4)))
    assert base.completion.text == "\nWhat" and base.completion.stop_reason == "length" and not base.as_chat
    assert "400: no template" in instruct.error
    assert run.completion.new_tokens > 0 and run.batch == 1  # trained here, so answered here


def test_what_needs_weights_says_who_answers(server, manager):
    host = server.url.removeprefix("http://")
    for ask in (
        lambda: token_losses(manager, [1, 2]),
        lambda: prove_base(manager, "The"),
        lambda: manager.fresh("instruct").__enter__(),
    ):
        with pytest.raises(
            InputError, match=rf"answered by {host}, which gives texts and no weights.*without --endpoint"
        ):
            ask()
    with pytest.raises(InputError, match="has no adapter to merge"):
        measure_merge(manager, "base", "The")
    with pytest.raises(InputError, match="the server applies the template of tiny-instruct, and no other"):
        list(chat(manager, QUESTION, template="chatml"))


def test_other_models_of_the_server_are_offered_and_adapters_known_by_their_base(server, manager):
    listed = [
        {"id": "org/tiny-base"}, {"id": "/srv/tiny-instruct"},
        {"id": "poet", "parent": "org/tiny-base"}, {"id": "/srv/models/other"},
    ]  # fmt: skip
    server.answer("models", as_json({"data": listed}))
    roles = {spec.key: (spec.role, spec.base.key if spec.base else "") for spec in manager.foreign()}
    assert roles == {"poet": ("adapter", "tiny-base"), "other": ("model", "")}
    server.answer("chat/completions", as_events(said("A rose", "stop")))
    assert last(chat(manager, QUESTION, "poet")).text == "A rose"
    assert last(chat(manager, QUESTION, "instruct")).text == "A rose"
    assert [body["model"] for body in server.bodies("chat/completions")] == ["poet", "/srv/tiny-instruct"]


def test_a_pair_that_the_server_does_not_have_names_what_it_has(server, tmp_path):
    manager = ModelManager(replace(ANY_PAIR, endpoint=server.url, runs_dir=tmp_path))
    with pytest.raises(
        InputError, match=r"no model 'assets/models/pocket-base'.*lists: org/tiny-base, org/tiny-instruct"
    ):
        list(complete(manager, "The"))


def test_a_server_that_lists_nothing_is_asked_by_name(server, bare):
    server.answer("models", as_json({"detail": "Not Found"}, 404))
    server.answer("completions", as_events(written(".", "stop")))
    assert last(complete(bare, "The")).text == "."


def test_nothing_is_loaded_at_the_start(server, manager):
    manager.preload(("base", "instruct")).join()
    assert manager.gauge().used == 0 and manager.gauge().server in server.url


def test_a_key_is_sent_and_never_shown(server, tiny_pair, monkeypatch):
    monkeypatch.setenv("STUDIO_ENDPOINT_KEY", "sesame")
    server.answer("completions", as_json({"error": "no"}, 403))
    for url, sent in (
        (server.url, "Bearer sesame"),
        (server.url.replace("://", "://me:secret@"), "Basic bWU6c2VjcmV0"),
    ):
        manager = ModelManager(replace(tiny_pair.settings, endpoint=url))
        with pytest.raises(InputError) as raised:
            list(complete(manager, "The"))
        assert server.keys[-1] == sent
        assert not {word for word in ("sesame", "secret") if word in f"{raised.value}{manager.gauge()}"}


def test_a_stream_without_news_gives_a_value_each_second_so_that_a_reader_who_left_is_noticed(server, manager):
    server.answer("completions", Reply((b": waiting\n\n",) * 200, pause=0.05))
    answers = complete(manager, "The")
    begin = time.monotonic()
    assert next(answers).new_tokens == 0
    assert time.monotonic() - begin < 3
    answers.close()
    assert server.left.wait(5)
