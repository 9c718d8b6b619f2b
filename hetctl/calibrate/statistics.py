"""Samples of a measuring process as figures with their spread."""

from collections.abc import Mapping, Sequence
from statistics import median

from hetctl.machine_profile import Measured, MeasuredByBytes, MeasuredByRows

Samples = Mapping[str, Sequence[float]]
"""Repeated measurements by a number (rows, bytes), as JSON has it: a string."""


def figure(samples: Sequence[float]) -> Measured:
    """Median, lowest and highest.

    Raises:
        ValueError: there are no samples, or one is no positive number.
    """
    if not samples:
        raise ValueError("no sample was taken")
    return Measured(
        median=median(samples), low=min(samples), high=max(samples), samples=len(samples)
    )


def by_rows(samples: Samples) -> MeasuredByRows:
    """A figure for each number of rows."""
    rows = sorted(map(int, samples))
    return MeasuredByRows(rows=tuple(rows), values=tuple(figure(samples[str(row)]) for row in rows))


def by_bytes(samples: Samples) -> MeasuredByBytes:
    """A figure for each size."""
    sizes = sorted(map(int, samples))
    return MeasuredByBytes(
        sizes_bytes=tuple(sizes), values=tuple(figure(samples[str(size)]) for size in sizes)
    )


def flops(weight_rates: Samples, flop_per_byte: float) -> Measured:
    """The matrix rate: FLOP per second at the number of rows where they are most.

    Args:
        weight_rates: Bytes of weights per second, by rows.
        flop_per_byte: That one row does for each byte of weights.
    """
    rows = max(weight_rates, key=lambda row: int(row) * median(weight_rates[row]))
    return figure([int(rows) * rate * flop_per_byte for rate in weight_rates[rows]])


def largest_copy_rate(seconds: Samples) -> Measured:
    """Bytes per second of the largest copies."""
    size = max(seconds, key=int)
    return figure([int(size) / s for s in seconds[size]])
