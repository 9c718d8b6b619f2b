"""The exact bootstrap is what endless resampling gives."""

import itertools
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetctl.bench.gate.bootstrap import RatioOfMedians, ratio_distribution

samples = st.lists(st.floats(0.5, 2.0), min_size=1, max_size=9)
LEVELS = (0.90, 0.95, 0.99)


@pytest.mark.parametrize(("below", "above"), [(5, 5), (4, 5), (6, 8), (3, 10), (1, 2)])
def test_it_agrees_with_drawing_resamples(below: int, above: int) -> None:
    random = np.random.default_rng(7)
    base, current = random.lognormal(0, 0.1, below), random.lognormal(0, 0.1, above)
    draws = 200_000
    drawn = np.median(random.choice(current, (draws, above)), axis=1) / np.median(
        random.choice(base, (draws, below)), axis=1
    )
    values, weights = ratio_distribution(base.tolist(), current.tolist())
    assert weights.sum() == pytest.approx(1)
    for at in np.quantile(values, (0.1, 0.3, 0.5, 0.7, 0.9)):
        at += 1e-9
        assert weights[values <= at].sum() == pytest.approx((drawn <= at).mean(), abs=0.005)


def test_the_middle_of_a_resample_of_five_follows_the_binomial() -> None:
    _, weights = ratio_distribution([1.0], [1.0, 2.0, 3.0, 4.0, 5.0])
    below = [
        sum(comb(5, hits) * k**hits * (5 - k) ** (5 - hits) for hits in (3, 4, 5)) for k in range(6)
    ]
    assert weights == pytest.approx(np.diff(below) / 5**5)


def test_false_alarms_are_counted_over_all_orders_of_five_and_five() -> None:
    """The figures that the rule rests on: see decision.py."""
    above = dict.fromkeys(LEVELS, 0)
    below = dict.fromkeys(LEVELS, 0)
    for current in itertools.combinations(range(101, 111), 5):
        base = [rank for rank in range(101, 111) if rank not in current]
        ratio = RatioOfMedians(base, current)
        for level in LEVELS:
            low, high = ratio.interval(level)
            above[level] += low > 1
            below[level] += high < 1
    assert above == below == {0.90: 7, 0.95: 4, 0.99: 2}


@given(samples, samples)
def test_swapping_the_sides_inverts_the_interval(base: list[float], current: list[float]) -> None:
    one, other = RatioOfMedians(base, current), RatioOfMedians(current, base)
    assert one.value == pytest.approx(1 / other.value)
    for level in LEVELS:
        low, high = one.interval(level)
        assert (low, high) == pytest.approx(
            (1 / other.interval(level)[1], 1 / other.interval(level)[0])
        )


@given(samples, samples, st.floats(0.01, 100))
def test_the_unit_does_not_matter(base: list[float], current: list[float], unit: float) -> None:
    scaled = RatioOfMedians([unit * one for one in base], [unit * one for one in current])
    assert scaled.interval(0.95) == pytest.approx(RatioOfMedians(base, current).interval(0.95))


@given(samples, samples)
def test_more_confidence_is_a_wider_interval(base: list[float], current: list[float]) -> None:
    ratio = RatioOfMedians(base, current)
    (low90, high90), (low95, high95), (low99, high99) = map(ratio.interval, LEVELS)
    assert low99 <= low95 <= low90 <= high90 <= high95 <= high99
    assert low99 >= min(current) / max(base) * (1 - 1e-12)
    assert high99 <= max(current) / min(base) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("base", "current"), [([], [1.0]), ([1.0], []), ([0.0], [1.0]), ([1.0], [-1.0])]
)
def test_without_positive_figures_there_is_no_ratio(
    base: list[float], current: list[float]
) -> None:
    with pytest.raises(ValueError, match="positive figures"):
        RatioOfMedians(base, current)


def test_many_runs_are_no_burden() -> None:
    figures = np.random.default_rng(1).lognormal(0, 0.02, 60).tolist()
    low, high = RatioOfMedians(figures, figures).interval(0.99)
    assert 0.97 < low < 1 < high < 1.03
