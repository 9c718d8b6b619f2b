"""How many samples are taken, and that none of them is the warm-up."""

from collections.abc import Iterator

import pytest

from vllm_hetero.calibration.sampling import timed


class Work:
    """Calls that take the given seconds, by a clock of their own; the last one repeats."""

    def __init__(self, *seconds: float) -> None:
        self.now = 0.0
        self.calls = 0
        self._seconds: Iterator[float] = iter(seconds)
        self._last = seconds[-1]

    def __call__(self) -> None:
        self.calls += 1
        self.now += next(self._seconds, self._last)

    def clock(self) -> float:
        return self.now


def test_the_first_calls_are_no_samples() -> None:
    work = Work(0.5, 0.3, 0.1)
    samples = timed(work, budget_s=100, most=4, clock=work.clock)
    assert samples == pytest.approx([0.1] * 4)
    assert work.calls == 6


@pytest.mark.parametrize(
    ("each_s", "budget_s", "expected"),
    [
        (0.01, 100.0, 30),  # as many as are of use
        (1.0, 7.5, 6),  # until the time is over, warm-up included
        (1.0, 3.0, 5),  # the least that says something, beyond the time
        (1.0, 0.5, 1),  # and not far beyond it
        (9.0, 0.5, 1),
    ],
)
def test_samples_until_the_time_is_over(each_s: float, budget_s: float, expected: int) -> None:
    work = Work(each_s)
    assert len(timed(work, budget_s, clock=work.clock)) == expected
