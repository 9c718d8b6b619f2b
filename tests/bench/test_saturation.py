"""Where more load brings nothing, and which points that spares."""

import pytest

from hetctl.bench.results import Load, Results
from hetctl.bench.saturation import is_flat, loads_for, saturation_point
from hetctl.bench.schedule import to_come
from tests.bench import sample

LOADS = tuple(Load(max_concurrency=count) for count in (1, 2, 4, 8, 16, 32))


def measured(*rates: float, repeat: int = 1, **changes: object) -> Results:
    """The CPU baseline under rising load, so far."""
    runs = tuple(
        sample.run("cpu", repeat, sample.measurement(rate), point=load.point)
        for load, rate in zip(LOADS, rates, strict=False)
    )
    return sample.blank(sample.CPU, loads=LOADS, runs=runs, **changes)


@pytest.mark.parametrize(
    ("rates", "flat"),
    [
        ([10.0, 20.0], False),
        ([10.0, 10.1], False),
        ([10.0, 10.1, 10.2], True),
        ([10.0, 20.0, 20.5], False),
        ([10.0, 20.0, 20.5, 20.9], True),
        # One point that brings nothing may be noise.
        ([10.0, 20.0, 20.5, 25.0], False),
        ([10.0, 20.0, 15.0, 12.0], True),
        # Small steps that add up are not flat: each is compared with the best before it.
        ([10.0, 10.6, 11.2, 11.9], False),
    ],
)
def test_two_points_without_five_percent_are_flat(rates: list[float], flat: bool) -> None:
    assert is_flat(rates) is flat


def test_a_flat_curve_spares_the_heavier_points_when_asked() -> None:
    rates = (10, 20, 20.1, 20.2)
    assert loads_for(measured(*rates), "cpu") == LOADS
    assert loads_for(measured(*rates, stop_when_flat=True), "cpu") == LOADS[:4]
    assert loads_for(measured(*rates[:3], stop_when_flat=True), "cpu") == LOADS


def test_later_repeats_have_the_points_of_the_first() -> None:
    results = measured(10, 20, 20.1, 20.2, stop_when_flat=True, repeats=2)
    left = [(coming.repeat, coming.load.point) for coming in to_come(results)]
    assert left == [(2, "c1"), (2, "c2"), (2, "c4"), (2, "c8")]


def test_a_second_repeat_alone_decides_nothing() -> None:
    results = measured(10, 10, 10, 10, repeat=2, stop_when_flat=True)
    assert loads_for(results, "cpu") == LOADS


def test_saturation_is_the_lightest_load_with_nearly_all_of_the_throughput() -> None:
    assert saturation_point(measured(10, 20, 38.5, 40, 39, 40), "cpu") == "c4"
    assert saturation_point(measured(10, 20, 37, 40, 39, 40), "cpu") == "c8"
    assert saturation_point(measured(10, 20, 40), "cpu") is None, "it may rise further"
    assert saturation_point(measured(), "cpu") is None
