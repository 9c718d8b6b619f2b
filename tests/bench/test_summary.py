"""Repeats put together, and what ratios refer to."""

from math import sqrt

import pytest

from hetctl.bench.metrics import (
    LATENCIES,
    METRICS,
    OUTPUT_THROUGHPUT,
    REQUEST_GOODPUT,
    format_number,
)
from hetctl.bench.summary import (
    Value,
    describe_interval,
    ratio_interval,
    resolved,
    summarise,
    value_over,
)
from tests.bench import sample


def test_one_repeat_has_no_interval() -> None:
    assert value_over([3.0]) == Value(3.0, None, 1)


def test_the_interval_is_students() -> None:
    # Mean 2, standard deviation 1, t(0.975, df=2) = 4.303.
    value = value_over([1.0, 2.0, 3.0])
    assert value.mean == 2
    assert value.half_width == pytest.approx(4.303 / sqrt(3), rel=1e-3)


def test_many_repeats_come_near_the_normal_quantile() -> None:
    value = value_over([0.0, 1.0] * 50)
    assert value.half_width == pytest.approx(1.984 * 0.50252 / 10, rel=0.01)


def test_the_reference_is_the_fastest_baseline_not_the_first() -> None:
    summary = summarise(sample.results())
    assert summary.reference is not None
    assert summary.reference.name == "gpu+prefetch"
    assert summary.plan is not None
    assert summary.plan.name == "hybrid"


def test_speedups_above_one_are_better_for_rates_and_latencies() -> None:
    summary = summarise(sample.results())
    hybrid, _, prefetch = summary.measured
    assert summary.speedup(hybrid, OUTPUT_THROUGHPUT) == pytest.approx(100 / 80)
    assert summary.speedup(hybrid, LATENCIES["tpot"][1]["p50"]) == pytest.approx(0.1 / 0.08)
    assert summary.speedup(hybrid, LATENCIES["ttft"][1]["p99"]) == pytest.approx(0.11 / 0.52)
    assert summary.speedup(prefetch, OUTPUT_THROUGHPUT) is None


def test_the_best_is_lowest_for_latencies() -> None:
    summary = summarise(sample.results())
    assert summary.best(OUTPUT_THROUGHPUT) == "hybrid"
    assert summary.best(LATENCIES["ttft"][1]["p50"]) == "gpu+prefetch"


def test_a_configuration_without_runs_is_left_out() -> None:
    summary = summarise(sample.results(runs=(sample.run("hybrid"),)))
    assert [one.name for one in summary.measured] == ["hybrid"]
    assert summary.reference is None
    assert summary.best(OUTPUT_THROUGHPUT) is None


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Value(10, 1, 3), Value(13, 1, 3), True),
        (Value(13, 1, 3), Value(10, 1, 3), True),
        (Value(10, 2, 3), Value(13, 2, 3), False),
        (Value(10, None, 1), Value(99, 1, 3), None),
    ],
)
def test_resolved_means_that_the_intervals_are_apart(
    one: Value, other: Value, expected: bool | None
) -> None:
    assert resolved(one, other) is expected


@pytest.mark.parametrize(
    ("value", "text"),
    [(12345.6, "12,346"), (123.4, "123"), (56.78, "56.8"), (1.234, "1.23"), (0.1234, "0.123")],
)
def test_numbers_keep_three_digits(value: float, text: str) -> None:
    assert format_number(value) == text


def test_goodput_is_shown_where_every_run_has_one() -> None:
    good = sample.measurement(request_goodput=0.5)
    runs = (sample.run("hybrid", measured=good), sample.run("cpu", measured=good))
    assert REQUEST_GOODPUT in summarise(sample.results(runs=runs)).metrics
    imported = (*runs, sample.run("gpu+prefetch"))
    assert REQUEST_GOODPUT not in summarise(sample.results(runs=imported)).metrics
    assert summarise(sample.blank()).metrics == METRICS


def test_the_interval_of_a_ratio_is_the_same_whichever_way_it_is_taken() -> None:
    one, other = Value(20, 1, 3), Value(10, 1, 3)
    found, inverse = ratio_interval(one, other), ratio_interval(other, one)
    assert found is not None
    assert inverse is not None
    # Relative half-widths of 5% and 10%: 11.2% together.
    assert found[1] == pytest.approx(2 * 1.118, rel=1e-2)
    assert found == pytest.approx((1 / inverse[1], 1 / inverse[0]))
    assert ratio_interval(one, Value(10, None, 1)) is None


def test_an_interval_that_says_nothing_says_so() -> None:
    assert describe_interval((1.18, 1.324)) == "1.18x to 1.32x"
    assert describe_interval((0.001, 3722.0)) == "too few repeats to tell"
    assert describe_interval(None) == ""
