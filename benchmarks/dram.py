"""The rate at which this process's threads read memory, for benchmarks to compare with."""

from typing import Any

_BUDGET_S = 3.0


def dram_read_bytes_per_s() -> float:
    """The most that the fastest of some plain reductions over 2 GiB reads."""
    from vllm_hetero.calibration import memory

    return max(memory.read_rate(_BUDGET_S)[0])


def of_cpu_rank(worker: Any) -> float | None:
    """The same in a rank of an engine, by its own threads; None on a GPU rank."""
    return dram_read_bytes_per_s() if worker.rank_entry.is_cpu else None
