"""The process of one rank: vLLM's, whose failures before and between calls are told, too."""

import multiprocessing
import os
import shutil
import threading
import time
from typing import Any

from vllm.v1.executor import multiproc_executor
from vllm.v1.executor.multiproc_executor import WorkerProc

from vllm_hetero import activity, env
from vllm_hetero.failure import EXIT_CODE, end_the_engine
from vllm_hetero.metrics import folder, record
from vllm_hetero.rank_map import RankMap

ENGINE_GONE_GRACE_S = 5.0
"""Time that a rank has to end by itself once the engine's process is gone."""


class RankProcess(WorkerProc):
    """What vLLM runs in a rank's process, from the first line to the last.

    vLLM logs an exception of the start or of the loop and ends the process as if nothing
    had been; this leaves the rank's last words first. Failures of a worker's methods are
    the worker's own (see :func:`~vllm_hetero.failure.ends_the_engine`).
    """

    @staticmethod
    def worker_main(*args: Any, **kwargs: Any) -> None:
        """Entry point of the process; the arguments are vLLM's."""
        activity.start_own(os.environ[env.RUN_DIR], kwargs["rank"])
        record.start_own(folder.of_engine(), kwargs["rank"])
        threading.Thread(target=_end_with_engine, daemon=True, name="EndWithEngine").start()
        # vLLM's entry point makes the object by this name.
        multiproc_executor.WorkerProc = RankProcess
        WorkerProc.worker_main(*args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        rank = kwargs["rank"]
        doing = activity.own()
        assert doing is not None
        before = doing.enter("its start")
        try:
            super().__init__(*args, **kwargs)
        except Exception as error:
            end_the_engine(rank, _device(rank), "its start", error)
        doing.leave(before)

    def worker_busy_loop(self) -> None:
        try:
            super().worker_busy_loop()
        except Exception as error:
            if self.rpc_broadcast_mq is None or self.rpc_broadcast_mq.shutting_down:
                raise
            end_the_engine(self.rank, _device(self.rank), "its loop", error)


def _device(rank: int) -> str:
    """As the engine's rank map, which every rank is given, names it."""
    return RankMap.from_env(os.environ[env.RANK_MAP]).ranks[rank].device


def _end_with_engine() -> None:
    """Outlive the engine's process by a moment at most, whatever this rank is doing."""
    engine = multiprocessing.parent_process()
    assert engine is not None
    engine.join()
    # At once: a rank that ends in order may do so before the time is up.
    for left in (os.environ[env.RUN_DIR], folder.of_engine()):
        shutil.rmtree(left, ignore_errors=True)
    time.sleep(ENGINE_GONE_GRACE_S)
    os._exit(EXIT_CODE)
