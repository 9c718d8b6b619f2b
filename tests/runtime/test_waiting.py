"""Waiting sleeps while nothing is due and looks without a pause when something is."""

import os
import subprocess

import pytest

from vllm_hetero import waiting
from vllm_hetero.waiting import Patience, PeerGoneError, Waiter, is_alive

LOOK_S = 1e-6


class FakeClock:
    """Time passes by sleeping and, a little, by looking."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeps = 0
        self.last_sleep = 0.0

    def perf_counter(self) -> float:
        self.now += LOOK_S
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.sleeps += 1
        self.last_sleep = self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake = FakeClock()
    monkeypatch.setattr(waiting, "time", fake)
    return fake


def waiter() -> Waiter:
    return Waiter(Patience(spin_s=1e-3, sleep_s=50e-6), os.getpid, "the other rank")


def test_steps_of_one_length_are_awaited_asleep_and_met_awake(clock: FakeClock) -> None:
    end = waiter()
    for step in range(4):
        due = clock.now + 20e-3
        sleeps = clock.sleeps
        end.until(lambda due=due: clock.now >= due)
        assert clock.sleeps - sleeps > 300, "it kept a core busy"
        if step:
            assert clock.now - due < 3 * LOOK_S, "it overslept"
            assert due - clock.last_sleep < 1e-3


def test_a_wait_longer_than_the_others_goes_back_to_sleep(clock: FakeClock) -> None:
    end = waiter()
    end.until(lambda: True)
    due = clock.now + 50e-3
    end.until(lambda: clock.now >= due)
    assert clock.sleeps > 900


def test_a_peer_that_ended_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LIVENESS_S", 0.01)
    peer = subprocess.Popen(["true"])
    with pytest.raises(PeerGoneError, match="the other rank has ended"):
        Waiter(Patience(0, 1e-3), lambda: peer.pid, "the other rank").until(lambda: False)
    peer.wait()
    assert not is_alive(peer.pid)
    assert is_alive(os.getpid())
