"""The rate at which this process's threads read memory, for benchmarks to compare with."""

_BUDGET_S = 3.0


def dram_read_bytes_per_s() -> float:
    """The most that the fastest of some plain reductions over 2 GiB reads."""
    from vllm_hetero.calibration import memory

    return max(memory.read_rate(_BUDGET_S)[0])
