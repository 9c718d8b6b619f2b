"""A server that fails is started ever more slowly, and at last no more."""

from hetctl.launch.restarts import LONGEST_PAUSE_S, STEADY_S, Restarts


def test_pauses_double_up_to_the_longest() -> None:
    restarts = Restarts(limit=0)
    pauses = [restarts.pause_s(was_ready_s=3) for _ in range(9)]
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_PAUSE_S]


def test_a_row_of_failures_ends_it() -> None:
    restarts = Restarts(limit=2)
    assert [restarts.pause_s(0) for _ in range(3)] == [1, 2, None]
    assert restarts.failures == 3


def test_a_server_that_ran_long_enough_begins_a_new_row() -> None:
    restarts = Restarts(limit=2)
    assert [restarts.pause_s(ready) for ready in (0, 0, STEADY_S, 0)] == [1, 2, 1, 2]


def test_no_limit_is_no_limit() -> None:
    restarts = Restarts(limit=0)
    assert {restarts.pause_s(0) for _ in range(3000)} >= {LONGEST_PAUSE_S}
