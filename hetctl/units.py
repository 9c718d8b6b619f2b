"""Sizes and durations as people write and read them. Storage is in bytes and seconds."""

import re

from hetctl.errors import UsageError

KIB = 1024
MIB = 1024**2
GIB = 1024**3

_BINARY = {"": 1, "k": KIB, "m": MIB, "g": GIB, "t": 1024**4}
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])i?)?b?\s*$", re.IGNORECASE)

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(s|ms|us)?\s*$", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes in a size such as ``12GiB``, ``12G``, ``512MB`` or ``1073741824``.

    All prefixes are binary, as in vLLM, Docker and nvidia-smi.

    Raises:
        UsageError: the text is not a size.
    """
    match = _SIZE.match(text)
    if match is None:
        raise UsageError(f"{text!r} is not a size; write it like 12GiB, 512MiB or 1073741824.")
    number, prefix = match.groups()
    return int(float(number) * _BINARY[(prefix or "").lower()])


def parse_duration(text: str) -> float:
    """Seconds in a time such as ``2s``, ``80ms``, ``250us`` or ``1.5`` (seconds).

    Raises:
        UsageError: the text is not a time.
    """
    match = _DURATION.match(text)
    if match is None:
        raise UsageError(f"{text!r} is not a time; write it like 2s, 80ms or 1.5 (seconds).")
    number, unit = match.groups()
    return float(number) * _SECONDS[(unit or "s").lower()]


def format_bytes(count: float) -> str:
    """``12.0 GiB``, ``512 MiB``, ``64 KiB`` or ``17 B``."""
    for name, size in (("TiB", 1024**4), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if abs(count) >= size:
            value = count / size
            return f"{value:.1f} {name}" if value < 100 else f"{value:.0f} {name}"
    return f"{count:.0f} B"


def format_rate(bytes_per_s: float) -> str:
    """``87 GB/s``: decimal, as datasheets and vendors write bandwidth."""
    value = bytes_per_s / 1e9
    return f"{value:.1f} GB/s" if value < 10 else f"{value:.0f} GB/s"


def format_duration(seconds: float) -> str:
    """``850 us``, ``12.5 ms``, ``3.20 s`` or ``2 min 05 s``."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def format_throughput(tokens_per_s: float) -> str:
    """``1,234`` or, below 10, ``3.5``."""
    return f"{tokens_per_s:,.0f}" if tokens_per_s >= 10 else f"{tokens_per_s:.1f}"
