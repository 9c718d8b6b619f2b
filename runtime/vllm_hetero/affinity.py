"""Binds processes to CPUs."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from vllm_hetero.log import get_logger
from vllm_hetero.rank_table import cpu_ranges

logger = get_logger(__name__)


@contextmanager
def children_bound_to(cpus: Collection[int]) -> Iterator[None]:
    """Processes that this thread starts meanwhile run on ``cpus``; empty binds nothing."""
    before = os.sched_getaffinity(0)
    bound = bool(cpus) and _bind(0, cpus)
    try:
        yield
    finally:
        if bound:
            os.sched_setaffinity(0, before)


def bind_process(cpus: Collection[int], tasks: Path = Path("/proc/self/task")) -> None:
    """Move every thread of this process to ``cpus``; empty changes nothing."""
    if cpus:
        for task in tasks.iterdir():
            if not _bind(int(task.name), cpus):
                return


def _bind(thread: int, cpus: Collection[int]) -> bool:
    try:
        os.sched_setaffinity(thread, cpus)
    except ProcessLookupError:
        # A thread that ended meanwhile.
        return True
    except OSError as error:
        logger.warning("Cannot bind to CPUs %s: %s.", cpu_ranges(tuple(cpus)), error)
        return False
    return True
