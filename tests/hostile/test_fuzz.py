"""A short attack of the whole studio; the long one is `python -m tests.hostile.fuzz`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hostile.fuzz import attack, unmeant


@pytest.mark.slow
def test_hostile_calls_are_answered_in_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    # In a thread of its own: after browser tests this one still has Playwright's event loop.
    with ThreadPoolExecutor(1) as thread:
        outcome, raised = thread.submit(attack, 1_000, 7, 60.0).result()
    with capsys.disabled():
        print(f"\n{outcome.calls.total():,} calls of {len(outcome.calls)} targets: {dict(outcome.answers)}")
    assert not outcome.failures
    assert not raised
    assert len(outcome.calls) > 100


def test_a_fault_on_the_log_is_found() -> None:
    trace = 'Traceback (most recent call last):\n  File "/x/components/a.py", line 3, in f\nKeyError: 5\n'
    meant = "Traceback (most recent call last):\n  File \"/x\", line 3, in f\ngradio.exceptions.Error: 'no'\n"
    noted = '{"event": "fault", "kind": "TypeError", "doing": "ask", "way": ["a.py:1"], "within": "b.py:2 g"}\n'
    assert list(unmeant(trace + meant)) == ["KeyError: 5 (a.py:3)"]
    assert [name.partition(" ")[0] for name in unmeant(noted)] == ["TypeError"]
