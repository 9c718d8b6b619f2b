"""Measured figures that cannot both be right: something is read faster than what it lies in."""

from hetctl.bounds import Part, RatedPart
from hetctl.document import Quantity

_THROUGH: dict[Part, tuple[tuple[str, str], ...]] = {
    "node": (
        ("weight_read_bytes_per_s_by_rows", "memory_read_bytes_per_s"),
        ("weight_read_fp16_bytes_per_s_by_rows", "memory_read_bytes_per_s"),
        ("weight_read_fp32_bytes_per_s_by_rows", "memory_read_bytes_per_s"),
    ),
    "gpu": (
        ("weight_read_bytes_per_s_by_rows", "memory_read_bytes_per_s"),
        ("uva_read_bytes_per_s_by_rows", "host_to_device_bytes_per_s"),
    ),
}
"""What is read, and through what. Attention's reads are not here: a short cache is in the CPU's."""

FROM_RANGES = 1.3
"""How much faster is too much between the lowest of the one and the highest of the other: plain
reductions, which the memory rate is of, are some per cent slower than the best loop."""

FROM_MEDIANS = 2.0
"""The same where no more is known: other work may have come or gone between the two."""

CACHE_BYTES = 256 * 2**20
"""Of a last cache that holds much of the weights that are measured with, some hundred MB."""


def contradiction(part: RatedPart, most: float, last_cache_bytes: int = 0) -> str | None:
    """The first two measured figures of ``part`` that cannot both be right; None where all can.

    Args:
        most: How many times as fast is too much.
        last_cache_bytes: All of the CPU's last caches. Weights in them are not read from memory.
    """
    if part.PART == "node" and last_cache_bytes >= CACHE_BYTES:
        return None
    for name, through in _THROUGH[part.PART]:
        read, limit = getattr(part, name), getattr(part, through)
        if not (_measured(read) and _measured(limit)):
            continue
        highest = next(limit.each()).high
        for where, value, low, _ in read.each():
            if low > most * highest:
                return (
                    f"{name} of {value:g} B/s{where} is more than {most:g} times "
                    f"{through}, {highest:g} B/s"
                )
    return None


def _measured(quantity: Quantity | None) -> bool:
    return quantity is not None and getattr(quantity, "source", "measured") == "measured"
