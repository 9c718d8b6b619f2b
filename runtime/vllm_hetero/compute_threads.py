"""The compute threads of a CPU rank: how many, where, and where their memory is."""

import ctypes
import os
from collections.abc import Sequence

import torch

from vllm_hetero.log import get_logger
from vllm_hetero.rank_map import Rank
from vllm_hetero.rank_table import cpu_ranges

logger = get_logger(__name__)

_MPOL_BIND, _MPOL_INTERLEAVE = 2, 3
_NODES = 1024


def settle(rank: Rank, nodes: Sequence[int]) -> None:
    """Give a pinned rank one thread per CPU, and say in the log where it computes.

    Args:
        rank: Its place in the map.
        nodes: NUMA nodes that its memory is to come from; vLLM's CPU worker has bound it to one.

    OpenMP made the threads from the rank's environment. What could have changed their number
    since is ``torch.set_num_threads``; vLLM's CPU worker, in the next step of its start,
    replaces that function by one that refuses, so this is the last word.
    """
    if len(nodes) > 1:
        interleave_memory(nodes)
    if rank.cpus and torch.get_num_threads() != len(rank.cpus):
        torch.set_num_threads(len(rank.cpus))
    logger.info("Rank %d: %s", rank.rank, describe(rank, torch.get_num_threads()))


def interleave_memory(nodes: Sequence[int]) -> None:
    """Take this process's pages from several nodes in turn; where that is refused, say so once."""
    torch.ops._C.init_cpu_memory_env(list(nodes))


def describe(rank: Rank, threads: int) -> str:
    """Where a CPU rank computes and where its memory is."""
    where = f"CPUs {cpu_ranges(rank.cpus)}" if rank.cpus else "any CPU"
    node = "" if rank.numa_node is None else f" for NUMA node {rank.numa_node}"
    return f"{threads} compute threads on {where}{node}; memory {memory_binding()}"


def memory_binding() -> str:
    """The NUMA nodes that this thread's memory comes from, or why it is not bound."""
    try:
        numa = ctypes.CDLL("libnuma.so.1", use_errno=True)
    except OSError:
        return "not bound to a node (libnuma is not installed)"
    mode = ctypes.c_int()
    words = (ctypes.c_ulong * (_NODES // 64))()
    # Node masks are given with one bit more than they have: an old quirk of the system call.
    if numa.get_mempolicy(ctypes.byref(mode), words, ctypes.c_ulong(_NODES + 1), None, 0):
        reason = os.strerror(ctypes.get_errno())
        return f"not bound to a node (the kernel or the container refuses it: {reason})"
    nodes = cpu_ranges(tuple(n for n in range(_NODES) if words[n // 64] >> n % 64 & 1))
    if mode.value == _MPOL_INTERLEAVE:
        return f"interleaved over NUMA nodes {nodes}"
    if mode.value == _MPOL_BIND:
        return f"bound to NUMA node {nodes}"
    return "not bound to a node (no policy is set)"
