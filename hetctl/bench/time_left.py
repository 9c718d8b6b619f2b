"""How long a comparison will still take, from how long its runs took."""

from collections.abc import Mapping, Sequence
from statistics import fmean


def time_left_s(
    finished_s: Mapping[str, Sequence[float]], remaining: Sequence[str], elapsed_s: float
) -> float | None:
    """Seconds until the last run ends, or None before the first one has ended.

    Args:
        finished_s: durations of the finished runs of each kind: a configuration at a point.
        remaining: the kind of every run to come, the running one first.
        elapsed_s: how long the running one has been at it.
    """
    known = [duration for durations in finished_s.values() for duration in durations]
    if not known:
        return None
    # A kind that has not run yet is taken for an average one.
    expected = [fmean(finished_s.get(name) or known) for name in remaining]
    if not expected:
        return 0.0
    return max(0.0, expected[0] - elapsed_s) + sum(expected[1:])
