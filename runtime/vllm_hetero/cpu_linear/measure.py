"""Times the linear kernels on a sample of a layer's weights."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from vllm_hetero.cpu_linear.choice import LEAST_ROWS, ROWS, Kernel, Times
from vllm_hetero.cpu_linear.kernels import Apply, prepare

SAMPLE_BYTES = 512 * 1024**2
"""Memory for the sample of one shape, in all forms and copies; freed when measured."""

REPEATS = 3

# Fewer output features would leave some of many threads without a block of 64.
_LEAST_FEATURES = 4096
_COPY_BYTES = 32 * 1024**2
_MOST_COPIES = 4

_LAST_LEVEL_CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")
_USUAL_CACHE_BYTES = 64 * 1024**2
_MOST_SWEPT_BYTES = 1024**3

Clock = Callable[[], float]


@dataclass(frozen=True)
class Sample:
    """``nbytes`` of weights in the form of each kernel, some copies of each."""

    nbytes: int
    forms: Mapping[Kernel, Sequence[Apply]]


def sample(
    weight: torch.Tensor,
    kernels: Sequence[Kernel],
    limit_bytes: int = SAMPLE_BYTES,
    most_copies: int = _MOST_COPIES,
) -> Sample:
    """``weight``'s first output features, for kernels that take it.

    In a model each layer's weights were last read a step ago and come from memory. Taking
    the copies in turns, with a :class:`CacheSweep` between, keeps them from coming out of a
    cache.
    """
    n, k = weight.shape
    features = max(_LEAST_FEATURES, _COPY_BYTES // (k * weight.itemsize) // 64 * 64)
    part = weight[:features] if features < n else weight
    room = limit_bytes // (part.nbytes * len(kernels))
    copies = range(max(1, min(most_copies, room)))
    return Sample(
        part.nbytes,
        {
            # torch's form is the weight itself.
            kernel: [prepare(kernel, part.clone() if kernel == "torch" else part) for _ in copies]
            for kernel in kernels
        },
    )


class CacheSweep:
    """Pushes weights out of the last-level cache by reading other memory.

    Server CPUs have caches of hundreds of MiB, larger than a sample may be. Each call reads a
    part of the sweep; before a copy's turn comes again, all of it has been read.
    """

    def __init__(self, cache_bytes: int | None = None) -> None:
        cache = last_level_cache_bytes() if cache_bytes is None else cache_bytes
        # Caches keep part of what they hold when more streams through them: once is not enough.
        swept = min(4 * cache, _MOST_SWEPT_BYTES)
        self._parts = torch.zeros(swept // 4).chunk(_MOST_COPIES)
        self._next = 0

    def __call__(self) -> None:
        """Read the next part."""
        self._parts[self._next % len(self._parts)].sum()
        self._next += 1


def last_level_cache_bytes(size: Path = _LAST_LEVEL_CACHE) -> int:
    """Of the first core, as the kernel says it (``307200K``)."""
    try:
        return int(size.read_text().strip().removesuffix("K")) * 1024
    except (OSError, ValueError):
        return _USUAL_CACHE_BYTES


def measure(
    forms: Mapping[Kernel, Sequence[Apply]],
    k: int,
    dtype: torch.dtype,
    limit_s: float,
    clock: Clock = time.perf_counter,
    numbers_of_rows: Sequence[int] = ROWS,
    between: Callable[[], object] = bool,
    least_s: float = 0.0,
) -> Times:
    """The least of ``REPEATS`` times of each kernel, by number of rows.

    ``between`` is called before each timed call. Ends after ``limit_s`` seconds with as many of
    ``numbers_of_rows``, in their order, as were measured for every kernel; this may be none.
    :data:`~vllm_hetero.cpu_linear.choice.LEAST_ROWS` may take up to ``least_s``.
    """
    began = clock()
    times: dict[Kernel, dict[int, float]] = {kernel: {} for kernel in forms}
    turn = 0
    for rows in numbers_of_rows:
        x = torch.ones(rows, k, dtype=dtype)
        for copies in forms.values():
            # Makes oneDNN's primitive for this number of rows.
            copies[turn % len(copies)](x, None)
        found: dict[Kernel, list[float]] = {kernel: [] for kernel in forms}
        for _ in range(REPEATS):
            turn += 1
            # By turns, so that a disturbance meets all kernels.
            for kernel, copies in forms.items():
                between()
                called = clock()
                copies[turn % len(copies)](x, None)
                found[kernel].append(clock() - called)
        if clock() - began > (max(limit_s, least_s) if rows in LEAST_ROWS else limit_s):
            break
        for kernel, seconds in found.items():
            times[kernel][rows] = min(seconds)
    return times
