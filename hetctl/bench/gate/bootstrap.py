"""The bootstrap distribution of a ratio of medians, exactly.

A run is resampled whole: the requests of one run share a server, its memory layout and its
minute, so they are not independent, and the runs are what there is to draw from.

Usually a computer draws a few thousand resamples. For a median there is no need: a resample
of ``n`` runs has its k-th smallest run as the median with a probability that follows from
the binomial distribution (Efron, *Bootstrap methods: another look at the jackknife*, 1979;
Maritz & Jarrett, *A note on estimating the variance of the sample median*, 1978). So the
interval below is what endless resampling would give, and needs no seed.
"""

from collections.abc import Sequence
from functools import cache
from math import comb
from statistics import median

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_NEGLIGIBLE = 1e-12
"""Medians that are drawn less often than this change no digit of an interval."""


class RatioOfMedians:
    """Median of ``current`` over median of ``base``, with intervals.

    Raises:
        ValueError: a side is empty or a figure is not positive, so that there is no ratio.
    """

    def __init__(self, base: Sequence[float], current: Sequence[float]) -> None:
        if not base or not current or min(*base, *current) <= 0:
            raise ValueError("a ratio of medians needs positive figures on both sides")
        self.value = median(current) / median(base)
        self._ratios, self._weights = ratio_distribution(base, current)

    def interval(self, confidence: float) -> tuple[float, float]:
        """The percentile interval, cut equally at both ends."""
        tail = (1 - confidence) / 2
        return _quantile(self._ratios, self._weights, tail), _quantile(
            self._ratios[::-1], self._weights[::-1], tail
        )


def ratio_distribution(base: Sequence[float], current: Sequence[float]) -> tuple[Floats, Floats]:
    """The ratios that resamples of both sides can have, ascending, and how likely each is."""
    below, below_weights = _medians(base)
    above, above_weights = _medians(current)
    ratios = np.divide.outer(above, below).ravel()
    weights = np.multiply.outer(above_weights, below_weights).ravel()
    order = np.argsort(ratios, kind="stable")
    return ratios[order], weights[order]


def _quantile(values: Floats, weights: Floats, share: float) -> float:
    """The first value at which the weights before and at it reach ``share``."""
    # Sums of weights are off by rounding; a value must not be missed for that.
    return float(values[np.searchsorted(np.cumsum(weights), share * (1 - 1e-9))])


def _medians(sample: Sequence[float]) -> tuple[Floats, Floats]:
    """The medians that resamples can have, and how likely each is."""
    ordered = np.sort(np.asarray(sample, dtype=np.float64))
    lower, upper, weights = _middle_ranks(len(ordered))
    return (ordered[lower] + ordered[upper]) / 2, weights


@cache
def _middle_ranks(count: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
    """Ranks (from 0) of the two middle runs of a resample, and their probability.

    With an odd count there is one middle run, and the two ranks are the same.
    """
    half = (count + 1) // 2
    pairs: dict[tuple[int, int], float] = {}
    for low in range(count):
        single = _at_least(half, count, (low + 1) / count) - _at_least(half, count, low / count)
        if count % 2 == 0:
            apart = {(low, high): _split(half, count, low, high) for high in range(low + 1, count)}
            pairs |= apart
            single -= sum(apart.values())
        pairs[low, low] = single
    kept = {pair: weight for pair, weight in pairs.items() if weight > _NEGLIGIBLE}
    ranks = np.array(list(kept), dtype=np.intp)
    weights = np.array(list(kept.values()))
    return ranks[:, 0], ranks[:, 1], weights / weights.sum()


def _at_least(hits: int, draws: int, share: float) -> float:
    """Chance of at least so many hits in so many draws."""
    return sum(
        comb(draws, k) * share**k * (1 - share) ** (draws - k) for k in range(hits, draws + 1)
    )


def _split(half: int, count: int, low: int, high: int) -> float:
    """Chance that ``half`` draws are at most rank ``low``, one of them at it, and the other
    half at least rank ``high``, one of them at it."""
    below = ((low + 1) / count) ** half - (low / count) ** half
    above = ((count - high) / count) ** half - ((count - high - 1) / count) ** half
    return comb(count, half) * below * above
