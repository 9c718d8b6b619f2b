"""What a rank notes of itself, as the engine reads it."""

import os
import time
from pathlib import Path

import pytest

from vllm_hetero import activity
from vllm_hetero.activity import Activity
from vllm_hetero.waiting import Patience, PeerGoneError, Waiter


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Activity:
    """The engine's view of rank 3, which this process is."""
    activity.create(tmp_path, 3)
    monkeypatch.setattr(activity, "_own", None)
    seen = Activity(tmp_path, 3)
    assert seen.read().pid == 0
    activity.start_own(tmp_path, 3)
    return seen


def test_the_engine_sees_what_the_rank_does_and_since_when(record: Activity) -> None:
    own = activity.own()
    assert own is not None
    assert record.read().pid == os.getpid()
    before = time.monotonic_ns()
    outer = own.enter("load_model")
    inner = own.enter("x" * 100)
    assert record.read().method == "x" * 64
    own.leave(inner)
    doing = record.read()
    assert doing.method == "load_model"
    assert before <= doing.since_ns <= time.monotonic_ns()
    own.leave(outer)
    assert record.read().method == ""


def test_a_long_wait_for_another_rank_is_noted_while_it_lasts(
    record: Activity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vllm_hetero.waiting.LIVENESS_S", 0.05)
    noted = []

    def ready() -> bool:
        noted.append(record.read().waits_since_ns)
        return noted[-1] > 0

    Waiter(Patience(0, 0.001), os.getpid, "the sender").until(ready)
    assert noted[0] == 0
    assert record.read().waits_since_ns == 0


def test_a_wait_that_fails_is_no_longer_noted(
    record: Activity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vllm_hetero.waiting.LIVENESS_S", 0.05)
    gone = 2**22 + 1
    with pytest.raises(PeerGoneError):
        Waiter(Patience(0, 0.001), lambda: gone, "the sender").until(lambda: False)
    assert record.read().waits_since_ns == 0


def test_a_wait_without_looks_is_noted_as_well(record: Activity) -> None:
    with activity.waiting():
        assert record.read().waits_since_ns > 0
    assert record.read().waits_since_ns == 0
