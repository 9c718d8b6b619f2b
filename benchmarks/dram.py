"""The rate at which this process's threads read memory, for benchmarks to compare with."""

import time

_BYTES = 2 << 30
_REPEATS = 5


def dram_read_bytes_per_s() -> float:
    """The most that any of some plain reductions over 2 GiB reads."""
    import torch

    data = torch.ones(_BYTES // 4)
    reads = (data.sum, data.max, lambda: torch.dot(data, data))
    best = float("inf")
    for _ in range(_REPEATS):
        for read in reads:
            began = time.perf_counter()
            read()
            best = min(best, time.perf_counter() - began)
    return data.nbytes / best
