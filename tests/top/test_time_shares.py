"""Where a rank's time went, also in a step that is longer than the interval."""

import pytest

from hetctl.top.frame import TimeShares
from hetctl.top.reading import Change
from hetctl.top.time_shares import time_shares
from tests.top.pages import samples

CALLS = "step_call_seconds_total"
LAYERS = "layers_seconds_total"
RECEIVING = "hop_receive_seconds_total"
CALL_RUNNING = "step_running_seconds"
RECEIVE_RUNNING = "hop_receive_running_seconds"


def shares(before: dict[str, float], now: dict[str, float], seconds: float = 1.0) -> TimeShares:
    return time_shares(0, Change(samples(ranks={0: before}), samples(ranks={0: now}), seconds))


def test_a_step_that_runs_all_the_time_is_work_before_any_counter_tells() -> None:
    time = shares({CALLS: 9, CALL_RUNNING: 4}, {CALLS: 9, CALL_RUNNING: 5})
    assert time.unfinished == 1
    assert (time.works, time.idle) == (1, 0)


def test_a_rank_that_waits_in_a_call_all_the_time_does_not_work() -> None:
    running = {CALLS: 9, RECEIVING: 3}
    time = shares(
        {**running, CALL_RUNNING: 4.5, RECEIVE_RUNNING: 4},
        {**running, CALL_RUNNING: 5.5, RECEIVE_RUNNING: 5},
    )
    assert time.receiving == 1
    assert time.works == 0


def test_what_lay_before_the_interval_is_left_out_when_a_long_step_ends() -> None:
    # It had run for 8 s, runs 0.5 s more, and was in its layers for nine tenths of its time.
    time = shares(
        {CALLS: 1, LAYERS: 1, CALL_RUNNING: 8}, {CALLS: 9.5, LAYERS: 8.65, CALL_RUNNING: 0}
    )
    assert time.layers == pytest.approx(0.45)
    assert time.other == pytest.approx(0.05)
    assert time.idle == pytest.approx(0.5)


def test_one_step_ends_and_the_next_begins() -> None:
    # 0.3 s of a step that had run for 0.2 s before, 0.1 s of nothing, 0.6 s of the next one.
    time = shares(
        {CALLS: 1, LAYERS: 1, CALL_RUNNING: 0.2}, {CALLS: 1.5, LAYERS: 1.5, CALL_RUNNING: 0.6}
    )
    assert time.layers == pytest.approx(0.3)
    assert time.unfinished == pytest.approx(0.6)
    assert time.idle == pytest.approx(0.1)


def test_a_wait_that_ended_and_work_that_goes_on_in_one_call() -> None:
    # Waited from the start of the interval on for 0.4 s, and computes since.
    time = shares(
        {CALLS: 0, RECEIVING: 0, CALL_RUNNING: 0, RECEIVE_RUNNING: 0},
        {CALLS: 0, RECEIVING: 0.4, CALL_RUNNING: 1, RECEIVE_RUNNING: 0},
    )
    assert time.receiving == pytest.approx(0.4)
    assert time.unfinished == pytest.approx(0.6)


def test_shares_are_shares_whatever_the_clocks_say() -> None:
    # The server's counters run a little ahead of the interval; a GPU works after its calls.
    time = shares({CALLS: 0, LAYERS: 0}, {CALLS: 0.4, LAYERS: 1.3})
    assert time.layers == 1
    assert time.other == 0
    assert time.idle == 0
