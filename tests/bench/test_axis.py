"""Axes that show everything, with labels that do not meet."""

from itertools import pairwise
from math import log

import pytest
from matplotlib.figure import Figure

from hetctl.bench.charts.axis import scale_loads, scale_y, time_unit


def ticks(loads: list[float]) -> list[float]:
    axes = Figure().add_subplot()
    axes.plot(loads, loads)
    scale_loads(axes, loads)
    return [float(at) for at in axes.get_xticks()]


def test_each_load_has_a_tick_where_there_is_room() -> None:
    assert ticks([1, 2, 4, 8, 16, 32, 64]) == [1, 2, 4, 8, 16, 32, 64]
    assert ticks([1, 2]) == [1, 2]
    assert ticks([8]) == [8]


@pytest.mark.parametrize("loads", [list(range(1, 65)), [1, 60, 62, 64], [1, 1.05, 2, 4, 8]])
def test_crowded_loads_keep_the_first_and_the_last_and_some_between(loads: list[float]) -> None:
    shown = ticks(loads)
    assert shown[0] == loads[0]
    assert shown[-1] == loads[-1]
    assert len(shown) < len(loads)
    whole = log(loads[-1]) - log(loads[0])
    assert all((log(b) - log(a)) / whole > 0.08 for a, b in pairwise(shown))


@pytest.mark.parametrize(
    ("values", "scale"),
    [([1, 30], "log"), ([1, 10], "linear"), ([0, 1000], "linear"), ([], "linear")],
)
def test_values_far_apart_get_a_logarithmic_axis(values: list[float], scale: str) -> None:
    axes = Figure().add_subplot()
    scale_y(axes, values, "s")
    assert axes.get_yscale() == scale
    low, high = axes.get_ylim()
    assert low <= min(values, default=0) < max(values, default=1) < high or not values
    assert scale == "log" or low == 0


def test_one_scale_may_be_asked_for() -> None:
    axes = Figure().add_subplot()
    scale_y(axes, [1, 1000], "s", linear=True)
    assert axes.get_yscale() == "linear"


@pytest.mark.parametrize(
    ("seconds", "unit"), [(30, "s"), (2, "s"), (1.9, "ms"), (0.002, "ms"), (0.001, "us")]
)
def test_times_are_in_the_unit_that_fits(seconds: float, unit: str) -> None:
    assert time_unit(seconds)[0] == unit
