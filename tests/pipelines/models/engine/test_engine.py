"""Many requests at once: each as it is alone, whoever comes and goes, within the budget, through every failure."""

from __future__ import annotations

import random
import threading
import time

import pytest

from pipelines import completion
from pipelines.decoding import stream
from pipelines.errors import InputError
from pipelines.models.engine import Request
from pipelines.models.engine import engine as engine_module
from pipelines.models.engine.any_batch import AnyBatch
from pipelines.models.engine.lean_batch import LeanBatch
from pipelines.visiting import VISITOR

NONE: frozenset[int] = frozenset()


def read(ticket):
    """The ids of a ticket, to its end."""
    ids = []
    while not ticket.done:
        ids += [token.id for token in ticket.take(1.0)]
    return ids


def alone(lease, request):
    return [
        token
        for token, _ in stream(
            lease, request.ids, request.max_new_tokens, request.temperature, request.seed, request.stops
        )
    ]


def idle(manager):
    """Wait until the engine has nothing to do; its load and the bytes of its caches are then zero."""
    deadline = time.monotonic() + 10
    while (manager.engine.load != (0, 0) or manager._shelf.cached) and time.monotonic() < deadline:
        time.sleep(0.01)
    return manager.engine.load == (0, 0) and manager._shelf.cached == 0


def test_random_mixes_of_requests_and_adapters_get_the_tokens_of_lone_runs(studio):
    """Against transformers' own forward pass, request by request."""
    choose = random.Random(11)
    names = ["base", "instruct", "run:one", "run:two", "run:dora"]
    for _ in range(6):
        with_leases = []
        held = [studio.lease(choose.choice(names)) for _ in range(choose.randint(2, 9))]
        leases = [lease.__enter__() for lease in held]
        for lease in leases:
            ids = [choose.randrange(10, 300) for _ in range(choose.randint(1, 60))]
            temperature = choose.choice([0.0, 0.0, 0.9])
            stops = frozenset(choose.sample(range(400), 4))
            with_leases.append((lease, Request(ids, stops, choose.randint(1, 25), temperature, choose.randrange(99))))
        tickets = studio.engine.submit(with_leases)
        for ticket, (lease, request) in zip(tickets, with_leases, strict=True):
            ids = read(ticket)
            assert ids == alone(lease, request), (lease.spec.key, request)
            assert ticket.reason == ("eos" if ids[-1] in request.stops else "length")
        for lease in held:
            lease.__exit__(None, None, None)
    assert idle(studio)


def test_who_joins_later_neither_waits_for_the_others_nor_changes_them(studio):
    with studio.lease("base") as lease:
        first = lease.ask(Request([20, 30, 40], NONE, 120))
        got = first.take(5.0)
        second, late = lease.ask(Request([50, 60], NONE, 5)), []
        while not second.done:
            late += second.take(1.0)
        assert [token.id for token in late] == alone(lease, second.request)
        assert (got[0].rows, late[0].rows) == (1, 2)
        assert [token.id for token in got] + read(first) == alone(lease, first.request)


def test_an_answer_ends_with_the_context_and_a_full_one_gives_nothing(studio):
    with studio.lease("base") as lease:
        nearly = lease.ask(Request([10] * (lease.context_length - 2), NONE, 50))
        full = lease.ask(Request([10] * lease.context_length, NONE, 50))
        assert len(read(nearly)) == 2 and nearly.reason == "length"
        assert read(full) == [] and full.reason == "length"


def test_probabilities_are_the_models_own_and_the_chosen_token_need_not_be_among_the_likely(studio):
    with studio.lease("base") as lease:
        ticket = lease.ask(Request([20, 30], NONE, 12, temperature=3.0, seed=5, alternatives=4))
        tokens = []
        while not ticket.done:
            tokens += ticket.take(1.0)
        steps = list(stream(lease, [20, 30], 12, 3.0, 5, NONE))
    for token, (expected, logits) in zip(tokens, steps, strict=True):
        shares = logits.softmax(-1)
        assert token.id == expected and token.probability == pytest.approx(float(shares[expected]), abs=1e-5)
        values, ids = shares.topk(4)
        assert [other for other, _ in token.likely] == ids.tolist()
        assert [share for _, share in token.likely] == pytest.approx(values.tolist(), abs=1e-5)
    assert any(token.id not in [other for other, _ in token.likely] for token in tokens)


def test_joining_leaving_and_vanishing_at_random_leaves_nothing_behind(studio):
    """Threads that ask, read some, and leave; caches and leases are zero afterwards."""
    ended = time.monotonic() + 2
    faults = []

    def person(seed):
        choose = random.Random(seed)
        try:
            while time.monotonic() < ended:
                with studio.lease(choose.choice(["base", "instruct", "run:one", "run:two", "run:dora"])) as lease:
                    ids = [choose.randrange(10, 300) for _ in range(choose.randint(1, 50))]
                    ticket = lease.ask(Request(ids, NONE, choose.randint(1, 60), choose.choice([0, 1.0])))
                    try:
                        for _ in range(choose.randint(0, 4)):
                            ticket.take(0.02)
                    finally:
                        ticket.close()
                    assert ticket.reason in ("length", "cancelled")
        except Exception as error:
            faults.append(error)

    people = [threading.Thread(target=person, args=(seed,)) for seed in range(12)]
    for thread in people:
        thread.start()
    for thread in people:
        thread.join(60)
    assert faults == []
    assert idle(studio)
    assert all(resident.leases == 0 for resident in studio._shelf._residents.values())
    assert studio.engine._batches == {} or all(not batch.rows for batch in studio.engine._batches.values())


class TestBudget:
    """With room for the model and a few rows: who does not fit waits, in order, with a place."""

    @pytest.fixture
    def tight(self, studio):
        with studio.lease("base") as lease:
            row = LeanBatch(lease.resident.lean).missing(128)
            studio._shelf.budget = lease.resident.bytes + 3 * row
            yield studio, lease, row

    def test_waiting_requests_have_places_and_all_are_answered(self, tight):
        studio, lease, _row = tight
        highest, ended = [0], threading.Event()

        def watch():
            while not ended.is_set():
                highest[0] = max(highest[0], studio._shelf.used())
                time.sleep(0.001)

        watcher = threading.Thread(target=watch)
        watcher.start()
        tickets = studio.engine.submit([(lease, Request([20 + n, 30], NONE, 100)) for n in range(8)])
        places = [ticket.place for ticket in tickets]
        assert sorted(places) == places and places[-1] >= 1
        answers = [read(ticket) for ticket in tickets]
        ended.set()
        watcher.join()
        assert answers == [alone(lease, ticket.request) for ticket in tickets]
        assert all(ticket.place == 0 for ticket in tickets)
        assert highest[0] <= studio._shelf.budget

    def test_who_waits_is_told_the_place_and_frees_it_by_leaving(self, tight, monkeypatch):
        studio, lease, _row = tight
        monkeypatch.setattr(completion, "SIGN_OF_LIFE", 0.0)
        step = LeanBatch.step
        monkeypatch.setattr(LeanBatch, "step", lambda batch: time.sleep(0.02) or step(batch))
        held = studio.engine.submit([(lease, Request([20 + n], NONE, 100)) for n in range(3)])
        held[0].take(5.0)
        answer = completion.complete(studio, "a", "base", completion.Sampling(100))
        assert [next(answer).place for _ in range(3)] == [1, 1, 1]
        answer.close()
        assert studio.engine.load == (3, 0)
        for ticket in held:
            ticket.close()
        assert idle(studio)

    def test_what_nobody_leases_is_evicted_for_a_cache(self, studio):
        with studio.lease("instruct"):
            pass
        with studio.lease("base") as lease:
            row = LeanBatch(lease.resident.lean).missing(128)
            studio._shelf.budget = lease.resident.bytes + row
            assert len(read(lease.ask(Request([20], NONE, 100)))) == 100
        assert [status.resident for status in studio.models() if status.key == "tiny-instruct"] == [False]

    def test_a_cache_that_can_never_fit_is_refused_with_its_numbers(self, studio):
        with studio.lease("base") as lease:
            studio._shelf.budget = lease.resident.bytes + 1000
            with pytest.raises(InputError, match=r"need .* of cache; tiny-base leaves .* of") as refused:
                lease.ask(Request([20], NONE, 100))
        assert refused.value.where == "max_new_tokens" and "--memory-budget" in str(refused.value)

    def test_one_request_is_answered_although_others_hold_the_budget(self, studio):
        """Weights that are leased cannot go: one request at a time is still answered, over the budget by its cache."""
        with studio.lease("base") as lease, studio.lease("instruct"):
            row = LeanBatch(lease.resident.lean).missing(128)
            studio._shelf.budget = studio._shelf.used()
            assert len(read(lease.ask(Request([20], NONE, 100)))) == 100
            assert studio._shelf.used() <= studio._shelf.budget + row


def test_out_of_memory_costs_the_newest_its_answer_and_nobody_else(studio, monkeypatch):
    import torch

    step = LeanBatch.step

    def short(batch):
        if len(batch.rows) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return step(batch)

    monkeypatch.setattr(LeanBatch, "step", short)
    with studio.lease("base") as lease:
        tickets = studio.engine.submit([(lease, Request([20 + n], NONE, 20)) for n in range(5)])
        for ticket in tickets[:3]:
            assert read(ticket) == alone(lease, ticket.request)
        for ticket in tickets[3:]:
            with pytest.raises(InputError, match="the memory did not suffice"):
                read(ticket)
        assert len(read(lease.ask(Request([20], NONE, 5)))) == 5
    assert idle(studio)


def test_out_of_memory_in_the_middle_of_a_pass_of_transformers_ends_its_rows_and_no_other(studio, monkeypatch):
    """Some layers' caches have grown by then: a second try would read a token twice."""
    import torch

    with studio.lease("run:dora") as dora, studio.lease("base") as base:
        tickets = studio.engine.submit([(dora, Request([20 + n, 30], NONE, 40)) for n in range(3)])
        for ticket in tickets:
            ticket.take(5.0)

        def short(batch):
            raise torch.OutOfMemoryError("CUDA out of memory")

        with monkeypatch.context() as patched:
            patched.setattr(AnyBatch, "_next", short)
            lean = base.ask(Request([20], NONE, 30))
            for ticket in tickets:
                with pytest.raises(InputError, match="the memory did not suffice"):
                    read(ticket)
            assert read(lean) == alone(base, lean.request)
        assert read(dora.ask(tickets[0].request)) == alone(dora, tickets[0].request)
    assert idle(studio)


def test_rows_that_cannot_be_tidied_up_end_with_their_batch(studio, monkeypatch):
    def short(batch, row):
        raise RuntimeError("not enough memory")

    with studio.lease("base") as lease:
        with monkeypatch.context() as patched:
            patched.setattr(LeanBatch, "remove", short)
            brief, long = studio.engine.submit([(lease, Request([20], NONE, 2)), (lease, Request([21], NONE, 100))])
            assert len(read(brief)) == 2
            with pytest.raises(InputError, match="the memory did not suffice"):
                read(long)
        assert len(read(lease.ask(Request([20], NONE, 5)))) == 5
    assert idle(studio)


def test_a_cache_that_cannot_be_had_is_an_error_of_its_request(studio, monkeypatch):
    def none(batch, row, free):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: not enough memory")

    with studio.lease("base") as lease:
        with monkeypatch.context() as patched:
            patched.setattr(LeanBatch, "add", none)
            with pytest.raises(InputError, match="the memory did not suffice"):
                read(lease.ask(Request([20], NONE, 5)))
        assert len(read(lease.ask(Request([20], NONE, 5)))) == 5
    assert idle(studio)


def test_a_mistake_in_the_engine_ends_its_requests_and_not_the_engine(studio, monkeypatch):
    with studio.lease("base") as lease:
        with monkeypatch.context() as patched:
            patched.setattr(engine_module, "_key", lambda lease: {}[0])
            with pytest.raises(KeyError):
                read(lease.ask(Request([20], NONE, 5)))
        assert len(read(lease.ask(Request([20], NONE, 5)))) == 5


def test_a_broken_model_fails_its_own_requests_only(studio):
    with studio.lease("base") as lease, studio.lease("instruct") as broken:
        broken.resident.lean._norm.fill_(float("nan"))
        bad, good = studio.engine.submit([(broken, Request([20], NONE, 5)), (lease, Request([20], NONE, 5))])
        with pytest.raises(InputError, match="not numbers"):
            read(bad)
        assert len(read(good)) == 5


def test_a_visitor_with_many_answers_keeps_nobody_else_waiting(studio):
    engine = engine_module.Engine(studio._shelf, of_one=2, asked_of_one=5)
    with studio.lease("base") as lease:
        VISITOR.set("anna")
        many = engine.submit([(lease, Request([5, 6], NONE, 100)) for _ in range(5)])
        while not many[1]._new:
            time.sleep(0.001)
        with pytest.raises(InputError, match="5 answers of yours are being written or wait"):
            engine.submit([(lease, Request([5, 6], NONE, 1))])
        VISITOR.set("ben")
        (other,) = engine.submit([(lease, Request([7], NONE, 3))])
        assert len(read(other)) == 3
        writing = [ticket for ticket in many if ticket._new]
        assert len(writing) == 2 and [ticket.place for ticket in many[2:]] == [1, 2, 3]
        for ticket in many[:2]:
            ticket.close()
        assert [len(read(ticket)) for ticket in many[2:]] == [100, 100, 100]
