"""Starts the ranks, each with its own environment, and reports which one failed."""

import tempfile
from signal import Signals
from typing import Any

from vllm import envs
from vllm.v1.executor.multiproc_executor import MultiprocExecutor

from vllm_hetero.active_map import rank_map
from vllm_hetero.failure import FailureBoard
from vllm_hetero.log import get_logger
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
        self._run_dir = tempfile.TemporaryDirectory(
            prefix="vllm_hetero-", dir=envs.VLLM_RPC_BASE_PATH
        )
        self._failures = FailureBoard.at(self._run_dir.name)
        try:
            with ranks_start_with(RankEnvironment(ranks, self._run_dir.name)):
                super()._init_executor()
        except Exception as error:
            self._raise_with_cause(error)

    def collective_rpc(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().collective_rpc(*args, **kwargs)
        except Exception as error:
            self._raise_with_cause(error)

    def shutdown(self) -> None:
        if not getattr(self, "shutting_down", False) and (cause := self._cause()):
            logger.error("%s", cause)
        super().shutdown()
        if (run_dir := getattr(self, "_run_dir", None)) is not None:
            run_dir.cleanup()

    def _cause(self) -> str | None:
        """One sentence on the rank that ended the engine, or None.

        A rank that was killed leaves no words, and what its peers say then ("the other
        end is gone") is a consequence.
        """
        for handle in getattr(self, "workers", None) or []:
            if not handle.proc.is_alive():
                handle.proc.join(timeout=1.0)
                code = handle.proc.exitcode or 0
                if code < 0:
                    device = self._ranks.ranks[handle.rank].device
                    return f"Rank {handle.rank} ({device}) was killed by {Signals(-code).name}"
        failures = getattr(self, "_failures", None)
        return failures.first() if failures is not None else None

    def _raise_with_cause(self, error: Exception) -> None:
        cause = self._cause()
        if cause is None:
            raise error
        raise RuntimeError(cause) from error
