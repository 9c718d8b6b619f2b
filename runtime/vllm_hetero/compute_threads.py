"""The compute threads of a CPU rank: how many, where, and where their memory is."""

import ctypes
import os

import torch

from vllm_hetero.log import get_logger
from vllm_hetero.rank_map import Rank
from vllm_hetero.rank_table import cpu_ranges

logger = get_logger(__name__)

_MPOL_BIND = 2
_NODES = 1024


def lock_threads(rank: Rank) -> None:
    """Give a pinned rank one thread per CPU, and say in the log where it computes.

    OpenMP made the threads from the rank's environment. What could have changed their number
    since is ``torch.set_num_threads``; vLLM's CPU worker, in the next step of its start,
    replaces that function by one that refuses, so this is the last word.
    """
    if rank.cpus and torch.get_num_threads() != len(rank.cpus):
        torch.set_num_threads(len(rank.cpus))
    logger.info("Rank %d: %s", rank.rank, describe(rank, torch.get_num_threads()))


def describe(rank: Rank, threads: int) -> str:
    """Where a CPU rank computes and where its memory is."""
    where = f"CPUs {cpu_ranges(rank.cpus)}" if rank.cpus else "any CPU"
    node = "" if rank.numa_node is None else f" for NUMA node {rank.numa_node}"
    binding = memory_binding()
    memory = (
        f"not bound to a node ({binding})"
        if isinstance(binding, str)
        else f"bound to NUMA node {cpu_ranges(binding)}"
    )
    return f"{threads} compute threads on {where}{node}; memory {memory}"


def memory_binding() -> tuple[int, ...] | str:
    """The NUMA nodes that this thread's memory comes from, or why it is not bound."""
    try:
        numa = ctypes.CDLL("libnuma.so.1", use_errno=True)
    except OSError:
        return "libnuma is not installed"
    mode = ctypes.c_int()
    words = (ctypes.c_ulong * (_NODES // 64))()
    # Node masks are given with one bit more than they have: an old quirk of the system call.
    if numa.get_mempolicy(ctypes.byref(mode), words, ctypes.c_ulong(_NODES + 1), None, 0):
        return f"the kernel or the container refuses it: {os.strerror(ctypes.get_errno())}"
    if mode.value != _MPOL_BIND:
        return "no policy is set"
    return tuple(node for node in range(_NODES) if words[node // 64] >> node % 64 & 1)
