"""Times calls until there are enough samples or the time for them is used up."""

import math
import time
from collections.abc import Callable

import torch

Clock = Callable[[], float]

LEAST = 5
"""Samples without which a spread says nothing."""
MOST = 30

# Shorter, and a GPU's clock and the launch of the kernels show.
_GPU_SAMPLE_S = 1e-3
_MOST_CALLS = 200

# For the clocks of an idle GPU to rise.
_GPU_WARM_UP_S = 0.1


def timed(
    call: Callable[[], object],
    budget_s: float,
    least: int = LEAST,
    most: int = MOST,
    clock: Clock = time.perf_counter,
) -> list[float]:
    """Seconds of each of several calls, after a warm-up.

    Args:
        call: Returns when the work is done.
        budget_s: Once it is spent, warm-up included, ``least`` samples are enough; once it is
            spent threefold, those that there are, but one at least.
    """
    began = clock()
    call()
    once_s = clock() - began
    if once_s < budget_s / (least + 1):
        call()
    samples: list[float] = []
    while len(samples) < most:
        start = clock()
        call()
        end = clock()
        samples.append(end - start)
        spent_s = end - began
        if spent_s > 3 * budget_s or (spent_s > budget_s and len(samples) >= least):
            break
    return samples


def timed_on_gpu(
    call: Callable[[], object], budget_s: float, least: int = LEAST, most: int = MOST
) -> list[float]:
    """Seconds of the GPU per call, by its own clock: calls in a row, none waits for the host.

    Args:
        call: Queues work on the current stream.
        budget_s: As in :func:`timed`.
    """
    once_s = _warmed_up(call)
    calls = max(1, min(_MOST_CALLS, math.ceil(_GPU_SAMPLE_S / once_s)))
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    seconds: list[float] = []

    def sample() -> None:
        start.record()
        for _ in range(calls):
            call()
        end.record()
        end.synchronize()
        seconds.append(start.elapsed_time(end) / 1e3 / calls)

    kept = timed(sample, budget_s, least, most)
    return seconds[-len(kept) :]


def _warmed_up(call: Callable[[], object]) -> float:
    """Seconds of the last of several calls."""
    end = time.perf_counter() + _GPU_WARM_UP_S
    while True:
        torch.cuda.synchronize()
        began = time.perf_counter()
        call()
        torch.cuda.synchronize()
        now = time.perf_counter()
        if now > end:
            return now - began
