"""How fast a rank's threads read memory, its own node's and others'."""

import mmap
from collections.abc import Callable

import torch

from vllm_hetero.calibration import Samples
from vllm_hetero.calibration.channel import Channel
from vllm_hetero.calibration.sampling import timed
from vllm_hetero.numa_memory import bind_pages

DEFAULT_BYTES = 2 << 30
"""Well beyond any cache."""

_ROW = 4096


def read_rate(budget_s: float, nbytes: int = DEFAULT_BYTES, node: int | None = None) -> Samples:
    """Bytes per second of the fastest of some plain reductions.

    Args:
        nbytes: Memory to read.
        node: NUMA node that it lies on; None is where this process's memory lies.

    Raises:
        OSError: memory cannot be bound to the node.
    """
    data = _own_memory(nbytes) if node is None else _memory_on(nbytes, node)
    read = _fastest(data, budget_s / 4)
    return {0: [data.nbytes / seconds for seconds in timed(read, budget_s)]}


def read_until_told(channel: Channel, nbytes: int = DEFAULT_BYTES) -> Samples:
    """Read memory while another process measures; says when it begins, ends at any word.

    Returns:
        Bytes per second of each pass.
    """
    data = _own_memory(nbytes)
    read = _fastest(data, 0.0)
    channel.answer(say="reading")
    rates: list[float] = []
    while not channel.word_came():
        rates += [data.nbytes / seconds for seconds in timed(read, 0.0, least=1, most=1)]
    channel.command()
    return {0: rates}


def _own_memory(nbytes: int) -> torch.Tensor:
    return torch.ones(nbytes // 4)


def _memory_on(nbytes: int, node: int) -> torch.Tensor:
    mapping = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # The allocator of a rank asks for huge pages, too; without them this would be half as fast.
    mapping.madvise(mmap.MADV_HUGEPAGE)
    data = torch.frombuffer(mapping, dtype=torch.float32)
    bind_pages(data.data_ptr(), nbytes, node)
    return data.fill_(1.0)


def _fastest(data: torch.Tensor, budget_s: float) -> Callable[[], object]:
    """The reduction that reads fastest: torch spends more or less on each, by CPU."""
    rows = data.view(-1, _ROW)
    row = torch.ones(_ROW)
    reads = (data.sum, data.amax, lambda: torch.dot(data, data), lambda: torch.mv(rows, row))
    return min(reads, key=lambda read: min(timed(read, budget_s / len(reads), least=1, most=3)))
