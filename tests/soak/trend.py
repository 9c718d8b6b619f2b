"""Whether a figure grows from one repetition to the next."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean


@dataclass(frozen=True)
class Trend:
    """A line fitted by least squares."""

    slope: float
    """Per repetition."""
    low: float
    high: float
    """The slope's 95% confidence interval, for errors that are independent."""
    points: int

    def __str__(self) -> str:
        return f"{self.slope:+.2f} [{self.low:+.2f}, {self.high:+.2f}] over {self.points}"


def trend(at: Sequence[float], values: Sequence[float]) -> Trend:
    """The line through ``values`` at the repetitions ``at``.

    Raises:
        ValueError: fewer than three points.
    """
    freedom = len(at) - 2
    if freedom < 1:
        raise ValueError(f"a trend needs three points, not {len(at)}")
    x, y = fmean(at), fmean(values)
    spread = sum((one - x) ** 2 for one in at)
    slope = sum((a - x) * (v - y) for a, v in zip(at, values, strict=True)) / spread
    residual = sum((v - y - slope * (a - x)) ** 2 for a, v in zip(at, values, strict=True))
    half = _student(freedom) * (residual / freedom / spread) ** 0.5
    return Trend(slope, slope - half, slope + half, len(at))


def _student(freedom: int) -> float:
    """The 97.5% quantile of Student's distribution (Abramowitz and Stegun 26.7.5)."""
    z = NormalDist().inv_cdf(0.975)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
