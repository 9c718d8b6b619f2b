"""Where a series of figures moved to another level.

A scan over all cuts of the series into an older and a newer part, for the cut with the
largest difference between their mean ranks, measured in what chance would make of it. A
permutation test tells whether chance does as much: the same scan over the figures in
shuffled order. If not, the series is cut there and both parts are searched again (binary
segmentation, as in E-divisive: Matteson & James, *A nonparametric approach for multiple
change point analysis*, 2014). Ranks, so that one wild figure is one figure and no more.

A change needs a few figures behind it to be told from chance: in a series of 20, three. For
the newest commit there is the gate.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SIGNIFICANCE = 0.01
"""Share of constant series in which a change is seen all the same."""

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
    ranks = _ranks(values)
    observed = _scan(ranks[np.newaxis])[0]
    shuffled = random.permuted(np.tile(ranks, (_SHUFFLES, 1)), axis=1)
    # Equal sums may come out a rounding apart.
    as_large = np.count_nonzero(_scan(shuffled).max(axis=1) >= observed.max() - 1e-9)
    if (1 + as_large) / (1 + _SHUFFLES) > SIGNIFICANCE:
        return None
    return int(observed.argmax()) + 1


def _scan(rows: Floats) -> Floats:
    """For each row and each cut, how far apart the mean ranks of the two parts are.

    The variance of a difference of mean ranks grows as n / (k (n - k)) for parts of k and
    n - k figures; dividing by its root makes cuts comparable.
    """
    count = rows.shape[1]
    size = np.arange(1, count)
    excess = np.cumsum(rows - rows.mean(axis=1, keepdims=True), axis=1)[:, :-1]
    apart: Floats = np.abs(excess) / np.sqrt(size * (count - size))
    return apart


def _ranks(values: Floats) -> Floats:
    """Ranks from 1; equal figures share the mean of theirs."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2)[where]
    return ranks
