"""The estimate of the whole comparison's end."""

import pytest

from hetctl.bench.time_left import time_left_s


def test_unknown_before_the_first_run_ended() -> None:
    assert time_left_s({}, ["a", "b"], 5) is None


def test_each_configuration_takes_as_long_as_it_took() -> None:
    assert time_left_s({"a": [10, 12], "b": [100]}, ["a", "b"], 4) == pytest.approx(11 - 4 + 100)


def test_a_configuration_never_run_is_taken_for_an_average_one() -> None:
    assert time_left_s({"a": [10]}, ["b"], 4) == pytest.approx(6)


def test_a_run_that_takes_longer_does_not_make_the_rest_shorter() -> None:
    assert time_left_s({"a": [10]}, ["a", "a"], 50) == pytest.approx(10)


def test_nothing_left() -> None:
    assert time_left_s({"a": [10]}, [], 0) == 0
