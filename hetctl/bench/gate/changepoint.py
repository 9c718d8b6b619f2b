"""Where a series of figures moved to another level.

A scan over all cuts of the series into an older and a newer part, for the cut with the
largest difference between their means, measured in what chance would make of it. A
permutation test tells whether chance does as much: the same scan over the figures in
shuffled order. If not, the series is cut there and both parts are searched again (binary
segmentation, as in E-divisive: Matteson & James, *A nonparametric approach for multiple
change point analysis*, 2014).

A figure counts for no more than three times the noise away from the median. So one bad day
hides no change, which it does with plain means; and a small newer part stands out, which it
does not with ranks. ``docs/gate.md`` has figures.

A change needs a few figures behind it to be told from chance: in a series of 20, three. For
the newest commit there is the gate.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SIGNIFICANCE = 0.01
"""Share of constant series in which a change is seen all the same."""

_CLIP = 3.0
"""In standard deviations of the noise."""
_SHUFFLES = 1999
_SEED = 20261121


def change_points(values: Sequence[float]) -> tuple[int, ...]:
    """Indices of the first figure of each new level, in order. The same input, the same output."""
    random = np.random.default_rng(_SEED)
    return tuple(sorted(_search(np.asarray(values, dtype=np.float64), 0, random)))


def _search(values: Floats, offset: int, random: np.random.Generator) -> list[int]:
    cut = _cut(values, random)
    if cut is None:
        return []
    older = _search(values[:cut], offset, random)
    newer = _search(values[cut:], offset + cut, random)
    return [*older, offset + cut, *newer]


def _cut(values: Floats, random: np.random.Generator) -> int | None:
    """The most likely cut, or None when a shuffled series has as large a one too often."""
    if len(values) < 2:
        return None
    clipped = _clipped(values)
    observed = _scan(clipped[np.newaxis])[0]
    shuffled = random.permuted(np.tile(clipped, (_SHUFFLES, 1)), axis=1)
    # Equal sums may come out a rounding apart.
    as_large = np.count_nonzero(_scan(shuffled).max(axis=1) >= observed.max() - 1e-9)
    if (1 + as_large) / (1 + _SHUFFLES) > SIGNIFICANCE:
        return None
    return int(observed.argmax()) + 1


def _scan(rows: Floats) -> Floats:
    """For each row and each cut, how far apart the means of the two parts are.

    The variance of a difference of means grows as n / (k (n - k)) for parts of k and n - k
    figures; dividing by its root makes cuts comparable.
    """
    count = rows.shape[1]
    size = np.arange(1, count)
    excess = np.cumsum(rows - rows.mean(axis=1, keepdims=True), axis=1)[:, :-1]
    apart: Floats = np.abs(excess) / np.sqrt(size * (count - size))
    return apart


def _clipped(values: Floats) -> Floats:
    """Deviations from the median, bounded.

    The noise is taken from the steps between neighbours, most of which cross no change.
    """
    away: Floats = values - np.median(values)
    # Of normal noise, the median step is 0.6745 times the root of 2 standard deviations.
    noise = np.median(np.abs(np.diff(values))) / (0.6745 * np.sqrt(2))
    if noise == 0:
        return away
    clipped: Floats = np.clip(away / noise, -_CLIP, _CLIP)
    return clipped
