"""The scan finds what was put in, and little else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetctl.bench.gate.changepoint import change_points


def noise(count: int, seed: int = 0, sigma: float = 0.01) -> np.ndarray:
    return 100 * np.random.default_rng(seed).lognormal(0, sigma, count)


def test_a_constant_series_does_not_change() -> None:
    seen = sum(bool(change_points(noise(30, seed).tolist())) for seed in range(200))
    # Expected 1%, 2 of 200; 8 or more are seen once in a thousand times.
    assert seen <= 7


@pytest.mark.parametrize(("count", "at"), [(20, 17), (20, 10), (20, 4), (60, 50)])
def test_a_shift_is_found_where_it_is(count: int, at: int) -> None:
    values = noise(count, seed=3)
    values[at:] *= 0.93
    assert change_points(values.tolist()) == (at,)


@pytest.mark.parametrize("shifts", [(1.08, 0.9, 1.0), (1.3, 1.06, 1.06), (0.94, 0.94, 0.7)])
def test_several_shifts_are_found_in_order(shifts: tuple[float, ...]) -> None:
    """Whichever is the largest and so is found first."""
    values = noise(80, seed=1)
    for at, shift in zip((20, 45, 60), shifts, strict=True):
        values[at:] *= shift
    found = tuple(at for at, shift in zip((20, 45, 60), shifts, strict=True) if shift != 1)
    assert change_points(values.tolist()) == found


def test_one_bad_day_is_no_change_and_hides_none() -> None:
    values = noise(30, seed=2)
    values[7] *= 0.5
    assert change_points(values.tolist()) == ()
    values[20:] *= 1.06
    assert change_points(values.tolist()) == (20,)


def test_too_short_a_series_proves_nothing() -> None:
    assert change_points([]) == ()
    assert change_points([1.0]) == ()
    assert change_points([1.0, 1.0, 9.0, 9.0]) == ()


@given(st.lists(st.sampled_from([1.0, 1.0, 1.0, 1.02]), max_size=30))
def test_equal_figures_are_no_trouble(values: list[float]) -> None:
    cuts = change_points(values)
    assert cuts == change_points(values)
    assert list(cuts) == sorted(set(cuts))
    assert all(0 < cut < len(values) for cut in cuts)


@given(st.floats(1e-3, 1e6), st.integers(0, 20))
def test_the_unit_does_not_matter(unit: float, seed: int) -> None:
    values = noise(20, seed)
    values[12:] *= 1.1
    assert change_points((unit * values).tolist()) == change_points(values.tolist())
