"""One base and its four personalities, answering one question: one after another, and in one batch."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.benchmarks.figures import Figure

PROMPT = "What is the capital of France?"
ROUNDS = 5


def figures() -> list[Figure]:
    """Tokens per second of all together, the text and probabilities of each token included, as the page shows them."""
    from pipelines.completion import Sampling, chat, complete
    from pipelines.messages import Message
    from pipelines.models import ModelManager
    from pipelines.settings import Settings
    from pipelines.together import Ask, answer_together

    manager, sampling = ModelManager(Settings(device="cpu")), Sampling(24, temperature=1.5)
    models = ["base", *(spec.key for spec in manager.personalities())]

    def in_turn() -> int:
        written = [list(complete(manager, PROMPT, "base", sampling))[-1]]
        written += [list(chat(manager, (Message("user", PROMPT),), name, sampling))[-1] for name in models[1:]]
        return sum(each.new_tokens for each in written)

    def together() -> int:
        last = list(answer_together(manager, [Ask(name, PROMPT, name != "base") for name in models], sampling))[-1]
        return sum(answer.completion.new_tokens for answer in last if answer.completion)

    fastest = _fastest({"one after another": in_turn, "in one batch": together})
    how = f"base and {len(models) - 1} adapters, sampled, one question, fastest of {ROUNDS} in turn"
    return [Figure(f"{len(models)} models {name}", f"{rate:,.0f} tokens/s", how) for name, rate in fastest.items()]


def _fastest(ways: dict[str, Callable[[], int]]) -> dict[str, float]:
    """Tokens per second of each. They take turns, so that what else the machine does hits both."""
    rates = dict.fromkeys(ways, 0.0)
    for way in ways.values():
        way()  # the first pass of a model is slow
    for _ in range(ROUNDS):
        for name, way in ways.items():
            began = time.perf_counter()
            tokens = way()
            rates[name] = max(rates[name], tokens / (time.perf_counter() - began))
    return rates
