"""Starts the ranks, each with its own environment, and reports which one failed."""

import multiprocessing.connection
import tempfile
from multiprocessing.process import BaseProcess
from signal import Signals
from typing import Any, NoReturn

from vllm import envs
from vllm.v1.executor.multiproc_executor import MultiprocExecutor

from vllm_hetero.active_map import rank_map
from vllm_hetero.affinity import bind_process
from vllm_hetero.failure import FailureBoard
from vllm_hetero.log import get_logger
from vllm_hetero.preload import missing_libraries
from vllm_hetero.rank_environment import RankEnvironment
from vllm_hetero.rank_table import describe

logger = get_logger(__name__)


class HeterogeneousExecutor(MultiprocExecutor):
    """vLLM's multiprocess executor over GPU and CPU ranks.

    It differs in two things: a rank's environment comes from the rank map, and when a
    rank dies its own error is what the engine reports.
    """

    supports_pp = True

    def _init_executor(self) -> None:
        from vllm_hetero.kernels import ensure_kernels
        from vllm_hetero.patches.rank_environment import ranks_start_with

        self._ranks = ranks = rank_map(self.parallel_config.world_size)
        logger.info("Heterogeneous ranks:\n%s", describe(ranks))
        if ranks.cpu_ranks:
            ensure_kernels()
            if missing := missing_libraries():
                logger.info("%s", missing)
        self._run_dir = tempfile.TemporaryDirectory(
            prefix="vllm_hetero-", dir=envs.VLLM_RPC_BASE_PATH
        )
        self._failures = FailureBoard.at(self._run_dir.name)
        self._cause: str | None = None
        self._starting = True
        environment = RankEnvironment(ranks, self._run_dir.name)
        try:
            with ranks_start_with(environment):
                super()._init_executor()
        except Exception as error:
            self._raise_with_cause(error)
        # Only now: ranks start with the CPUs that this process has.
        bind_process(environment.other_cpus)
        self._starting = False

    def collective_rpc(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().collective_rpc(*args, **kwargs)
        except Exception as error:
            self._raise_with_cause(error)

    def shutdown(self) -> None:
        super().shutdown()
        if (run_dir := getattr(self, "_run_dir", None)) is not None:
            run_dir.cleanup()

    def _ensure_worker_termination(self, worker_procs: list[BaseProcess]) -> None:
        """vLLM calls this when the start failed and at every end, before it kills anyone:
        the last moment at which a rank that ended by itself can be told from the others."""
        if self._cause is None:
            self._cause = self._find_cause(worker_procs)
            if self._cause is not None:
                logger.error("%s", self._cause)
        super()._ensure_worker_termination(worker_procs)

    def _find_cause(self, worker_procs: list[BaseProcess]) -> str | None:
        """One sentence on the rank that ended the engine, or None.

        A rank that was killed leaves no words, and what its peers say then ("the other
        end is gone") is a consequence.
        """
        # During the start, a broken pipe tells of a death a little before the sentinel does;
        # the exit code comes later still, so is_alive() would say yes.
        ended = multiprocessing.connection.wait(
            [proc.sentinel for proc in worker_procs], timeout=1.0 if self._starting else 0
        )
        for proc in worker_procs:
            if proc.sentinel not in ended:
                continue
            proc.join(timeout=2.0)
            if (code := proc.exitcode or 0) < 0:
                rank = int(proc.name.rpartition("-")[2])
                device = self._ranks.ranks[rank].device
                return f"Rank {rank} ({device}) was killed by {Signals(-code).name}"
        return self._failures.first()

    def _raise_with_cause(self, error: Exception) -> NoReturn:
        cause = self._cause or self._failures.first()
        if cause is None:
            raise error
        raise RuntimeError(cause) from error
