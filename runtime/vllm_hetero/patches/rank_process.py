"""Patch: each rank's process runs our subclass of vLLM's ``WorkerProc``.

What: while ranks are spawned, ``multiproc_executor.WorkerProc`` is a stand-in that starts
:class:`~vllm_hetero.rank_process.RankProcess` and hands out each process that was started.
Why: vLLM ends a rank whose start fails without telling the engine why, and nobody else
knows a rank's process until it is ready: one that hangs before could not be named.
Removable when: ``MultiprocExecutor`` takes the class of its processes from an attribute.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

from vllm.v1.executor import multiproc_executor

from vllm_hetero.patches.contract import require_parameters
from vllm_hetero.rank_process import RankProcess

_PARAMETERS = (
    "vllm_config",
    "local_rank",
    "rank",
    "distributed_init_method",
    "input_shm_handle",
    "shared_worker_lock",
    "is_driver_worker",
    "inherited_fds",
)

OnStart = Callable[[int, BaseProcess, str], None]
"""Called once a rank's process was started, with the rank's number, the process and the
address at which process groups are made."""


class _Starter:
    def __init__(self, on_start: OnStart) -> None:
        self._on_start = on_start

    def __getattr__(self, name: str) -> Any:
        return getattr(RankProcess, name)

    def make_worker_process(self, **kwargs: Any) -> Any:
        handle = RankProcess.make_worker_process(**kwargs)
        self._on_start(handle.rank, handle.proc, kwargs["distributed_init_method"])
        return handle


@contextmanager
def ranks_run_as_rank_processes(on_start: OnStart) -> Iterator[None]:
    """Start ranks as :class:`~vllm_hetero.rank_process.RankProcess` while the context lasts."""
    original = multiproc_executor.WorkerProc
    require_parameters(original.make_worker_process, _PARAMETERS)
    multiproc_executor.WorkerProc = _Starter(on_start)
    try:
        yield
    finally:
        multiproc_executor.WorkerProc = original
